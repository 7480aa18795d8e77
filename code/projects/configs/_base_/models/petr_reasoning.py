# PF-Track on PETR: tracking queries, past and future reasoning, motion by forecasts.
_base_ = "./petr.py"
model = dict(
    tracking=True,
    if_update_ego=True,
    motion_prediction=True,
    motion_prediction_ref_update=True,
    runtime_tracker=dict(record_threshold=0.4, max_age_since_update=7),
    spatial_temporal_reason=dict(history_reasoning=True, future_reasoning=True, fut_len=8),
    pts_bbox_head=dict(bbox_coder=dict(max_num=150)),
)
