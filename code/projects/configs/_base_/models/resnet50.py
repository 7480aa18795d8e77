# ResNet-50 for the place of a model's backbone, with its two last maps (1024 and 2048 channels).
# From detectron2's weights (images in BGR, of unit scale); stem and first stage stay as they are.
resnet50 = dict(
    _delete_=True,
    type="ResNet",
    depth=50,
    out_indices=(2, 3),
    frozen_stages=1,
    norm_cfg=dict(type="BN2d", requires_grad=False),
    norm_eval=True,
    style="caffe",
    init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://detectron2/resnet50_caffe"),
)
