# Step two, PETR over ResNet-50, 704x256: PF-Track on clips of three frames.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_704x256.py",
    "../../_base_/models/petr_reasoning.py",
    "../../_base_/models/resnet50.py",
    "../../_base_/schedules/adamw_cosine_24e.py",
    "../../_base_/default_runtime.py",
]
model = dict(
    img_backbone={{_base_.resnet50}},
    img_neck=dict(in_channels=[1024, 2048]),
)
data = dict(train=dict(num_frames_per_sample=3))
