# What all trackers share: backbone, losses, and a detector of single frames without any memory.
pc_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
post_range = [-61.2, -61.2, -10.0, 61.2, 61.2, 10.0]
model = dict(
    type="Cam3DTracker",
    num_classes=10,
    num_query=500,
    tracking=False,
    train_backbone=True,
    if_update_ego=False,
    motion_prediction=False,
    motion_prediction_ref_update=False,
    use_grid_mask=True,
    runtime_tracker=dict(
        output_threshold=0.2, score_threshold=0.4, record_threshold=0.0, max_age_since_update=1
    ),
    spatial_temporal_reason=dict(
        history_reasoning=False,
        future_reasoning=False,
        hist_len=3,
        fut_len=4,
        num_classes=10,
        pc_range=pc_range,
    ),
    img_backbone=dict(
        type="VoVNetCP",
        spec_name="V-99-eSE",
        input_ch=3,
        norm_eval=True,
        frozen_stages=-1,
        out_features=("stage4", "stage5"),
    ),
    loss=dict(
        type="TrackingLossCombo",
        num_classes=10,
        interm_loss=True,
        code_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2],
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
        loss_bbox=dict(type="L1Loss", loss_weight=0.25),
        loss_prediction=dict(type="L1Loss", loss_weight=0.5),
        assigner=dict(
            type="HungarianAssigner3D",
            cls_cost=dict(type="FocalLossCost", weight=2.0),
            reg_cost=dict(type="BBox3DL1Cost", weight=0.25),
            pc_range=pc_range,
        ),
    ),
)
