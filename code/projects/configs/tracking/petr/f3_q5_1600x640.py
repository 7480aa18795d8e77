# Step two, PETR, 1600x640: PF-Track on clips of three frames, backbone frozen.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_1600x640.py",
    "../../_base_/models/petr_reasoning.py",
    "../../_base_/schedules/adamw_cosine_24e.py",
    "../../_base_/default_runtime.py",
]
model = dict(train_backbone=False, runtime_tracker=dict(max_age_since_update=6))
data = dict(train=dict(num_frames_per_sample=3))
load_from = "ckpts/f1_q5_fullres_e24.pth"
