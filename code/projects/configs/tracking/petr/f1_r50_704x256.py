# Step one, PETR over ResNet-50, 704x256: the small model of the field, none of the paper's. The
# backbone starts from detectron2's weights (BGR of unit scale); its first stage stays as it is.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_704x256.py",
    "../../_base_/models/petr.py",
    "../../_base_/schedules/adamw_cosine_24e.py",
    "../../_base_/default_runtime.py",
]
model = dict(
    img_backbone=dict(
        _delete_=True,
        type="ResNet",
        depth=50,
        out_indices=(2, 3),
        frozen_stages=1,
        norm_cfg=dict(type="BN2d", requires_grad=False),
        norm_eval=True,
        style="caffe",
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://detectron2/resnet50_caffe"),
    ),
    img_neck=dict(in_channels=[1024, 2048]),
)
data = dict(train=dict(ida_aug_conf=dict(rand_flip=True)))
