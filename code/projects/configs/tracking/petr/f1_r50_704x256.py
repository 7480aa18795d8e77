# Step one, PETR over ResNet-50, 704x256: the small model of the field, none of the paper's.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_704x256.py",
    "../../_base_/models/petr.py",
    "../../_base_/models/resnet50.py",
    "../../_base_/schedules/adamw_cosine_24e.py",
    "../../_base_/default_runtime.py",
]
model = dict(
    img_backbone={{_base_.resnet50}},
    img_neck=dict(in_channels=[1024, 2048]),
)
data = dict(train=dict(ida_aug_conf=dict(rand_flip=True)))
