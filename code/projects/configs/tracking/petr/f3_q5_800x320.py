# Step two, PETR, 800x320: PF-Track on clips of three frames.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_800x320.py",
    "../../_base_/models/petr_reasoning.py",
    "../../_base_/schedules/adamw_cosine_12e.py",
    "../../_base_/default_runtime.py",
]
data = dict(train=dict(num_frames_per_sample=3))
load_from = "ckpts/f1_q5_e12.pth"
