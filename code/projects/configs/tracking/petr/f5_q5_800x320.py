# PETR, 800x320: PF-Track on clips of five frames, starting from three.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_800x320.py",
    "../../_base_/models/petr_reasoning.py",
    "../../_base_/schedules/adamw_cosine_12e.py",
    "../../_base_/default_runtime.py",
]
model = dict(spatial_temporal_reason=dict(hist_len=5))
data = dict(train=dict(num_frames_per_sample=5))
optimizer = dict(lr=1e-4)
load_from = "ckpts/f3_q5_e12.pth"
