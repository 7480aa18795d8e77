# Step one on generated data: detector of single frames, one learning rate for all of it.
_base_ = [
    "../../_base_/datasets/demo_320x128.py",
    "../../_base_/models/demo.py",
    "../../_base_/schedules/adamw_cosine_12e.py",
    "../../_base_/default_runtime.py",
]
optimizer = dict(lr=5e-4, paramwise_cfg=dict(custom_keys={"img_backbone": dict(lr_mult=1.0)}))
optimizer_config = dict(
    type="OptimizerHook", _delete_=True, grad_clip=dict(max_norm=35, norm_type=2)
)
lr_config = dict(by_epoch=False, warmup_iters=100, warmup_ratio=0.1, min_lr_ratio=1e-2)
runner = dict(max_epochs=10)
evaluation = dict(interval=0)
log_config = dict(interval=20)
