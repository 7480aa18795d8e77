# How often to save and log; the training loop's own defaults cover the rest.
checkpoint_config = dict(interval=1, max_keep_ckpts=3)
log_config = dict(
    interval=50, hooks=[dict(type="TextLoggerHook"), dict(type="TensorboardLoggerHook")]
)
find_unused_parameters = False
load_from = None
resume_from = None
workflow = [("train", 1)]
