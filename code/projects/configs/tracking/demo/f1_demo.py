# Step one on generated data, small enough for two CPU cores: a DETR3D of 1.5 M parameters on
# images of 128x320. From random weights: one learning rate, batch statistics, no dropout.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_800x320.py",
    "../../_base_/models/detr3d.py",
    "../../_base_/schedules/adamw_cosine_12e.py",
    "../../_base_/default_runtime.py",
]

dims = 128
attention = dict(type="MultiheadAttention", embed_dims=dims, num_heads=4, dropout=0.0)
_look = dict(type="Detr3DCrossAtten", embed_dims=dims, num_levels=3, dropout=0.0)
model = dict(
    num_query=150,
    embed_dims=dims,
    use_grid_mask=False,
    img_backbone=dict(
        type="VoVNet",
        spec_name="V-19-tiny-eSE",
        norm_eval=False,
        out_features=("stage3", "stage4", "stage5"),
    ),
    img_neck=dict(in_channels=[128, 192, 256], out_channels=dims, num_outs=3),
    pts_bbox_head=dict(
        in_channels=dims,
        transformer=dict(
            decoder=dict(
                num_layers=4,
                transformerlayers=dict(
                    attn_cfgs=[attention, dict(_look, pc_range={{_base_.pc_range}})],
                    feedforward_channels=256,
                    ffn_dropout=0.0,
                ),
            )
        ),
        bbox_coder=dict(max_num=150),
    ),
    spatial_temporal_reason=dict(embed_dims=dims),
)

data_root = "work_dirs/demo/nuscenes/"
ida_aug_conf = dict(
    resize_lim=(0.2, 0.23),
    final_dim=(128, 320),
    bot_pct_lim=(0.0, 0.0),
    H=900,
    W=1600,
    rand_flip=True,
)
_paths = dict(data_root=data_root, ida_aug_conf=ida_aug_conf)
_infos = "work_dirs/demo/tracking_forecasting-mini_infos_"
data = dict(
    samples_per_gpu=3,
    workers_per_gpu=1,
    train=dict(_paths, ann_file=_infos + "train.pkl"),
    val=dict(_paths, ann_file=_infos + "val.pkl"),
    test=dict(_paths, ann_file=_infos + "val.pkl"),
)

optimizer = dict(lr=5e-4, paramwise_cfg=dict(custom_keys={"img_backbone": dict(lr_mult=1.0)}))
optimizer_config = dict(
    type="OptimizerHook", _delete_=True, grad_clip=dict(max_norm=35, norm_type=2)
)
lr_config = dict(warmup_iters=100, warmup_ratio=0.1, min_lr_ratio=1e-2)
runner = dict(max_epochs=16)
evaluation = dict(interval=0)
log_config = dict(interval=20)
