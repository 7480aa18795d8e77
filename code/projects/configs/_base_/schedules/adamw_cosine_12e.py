# Published training: 8 GPUs with one clip each, 12 epochs. The rate is annealed once an epoch. The
# hook is the release's: under it the network computed in fp32 (docs/training.md, precision).
optimizer = dict(
    type="AdamW",
    lr=2e-4,
    weight_decay=0.01,
    paramwise_cfg=dict(custom_keys={"img_backbone": dict(lr_mult=0.1)}),
)
optimizer_config = dict(
    type="Fp16OptimizerHook", loss_scale=512.0, grad_clip=dict(max_norm=35, norm_type=2)
)
lr_config = dict(
    policy="CosineAnnealing",
    warmup="linear",
    warmup_iters=500,
    warmup_ratio=1.0 / 3,
    min_lr_ratio=1e-3,
)
runner = dict(type="EpochBasedRunner", max_epochs=12)
evaluation = dict(interval=12)
