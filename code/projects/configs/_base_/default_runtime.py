# How often to save and log; the training loop's own defaults cover the rest.
checkpoint_config = dict(interval=1)
log_config = dict(
    interval=10, hooks=[dict(type="TextLoggerHook"), dict(type="TensorboardLoggerHook")]
)
find_unused_parameters = False
load_from = None
resume_from = None
workflow = [("train", 1)]
