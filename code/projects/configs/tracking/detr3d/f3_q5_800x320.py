# Step two, DETR3D, 800x320: tracking by velocity, without reasoning (the baseline).
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_800x320.py",
    "../../_base_/models/detr3d.py",
    "../../_base_/schedules/adamw_cosine_12e.py",
    "../../_base_/default_runtime.py",
]
model = dict(
    tracking=True,
    if_update_ego=True,
    motion_prediction=True,
    spatial_temporal_reason=dict(fut_len=8),
)
data = dict(train=dict(num_frames_per_sample=3))
load_from = "ckpts/f1_detr3d_e12.pth"
