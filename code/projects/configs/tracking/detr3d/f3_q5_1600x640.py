# Step two, DETR3D, 1600x640: PF-Track on clips of three frames, backbone frozen.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_1600x640.py",
    "../../_base_/models/detr3d.py",
    "../../_base_/schedules/adamw_cosine_24e.py",
    "../../_base_/default_runtime.py",
]
model = dict(
    tracking=True,
    train_backbone=False,
    if_update_ego=True,
    motion_prediction=True,
    motion_prediction_ref_update=True,
    runtime_tracker=dict(record_threshold=0.4, max_age_since_update=5),
    spatial_temporal_reason=dict(history_reasoning=True, future_reasoning=True, fut_len=8),
    img_neck=dict(type="FPN"),
)
data = dict(train=dict(num_frames_per_sample=3))
load_from = "ckpts/f1_detr3d_fullres_e24.pth"
