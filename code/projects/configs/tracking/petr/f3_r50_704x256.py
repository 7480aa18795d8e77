# Step two, PETR over ResNet-50, 704x256: PF-Track on clips of three frames.
_base_ = "./f1_r50_704x256.py"
model = dict(
    tracking=True,
    if_update_ego=True,
    motion_prediction=True,
    motion_prediction_ref_update=True,
    runtime_tracker=dict(record_threshold=0.4, max_age_since_update=7),
    spatial_temporal_reason=dict(history_reasoning=True, future_reasoning=True, fut_len=8),
    pts_bbox_head=dict(bbox_coder=dict(max_num=150)),
)
data = dict(train=dict(num_frames_per_sample=3, ida_aug_conf=dict(rand_flip=False)))
