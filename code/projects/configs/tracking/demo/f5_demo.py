# Step two continued on generated data, from f3_demo: longer clips, a frozen backbone.
_base_ = ["./f3_demo.py"]

model = dict(train_backbone=False)
data = dict(train=dict(num_frames_per_sample=5))
# Forecasts are learned from nothing, from features that their loss does not reach.
_forecaster = dict(lr_mult=5.0)
optimizer = dict(
    lr=2e-4,
    paramwise_cfg=dict(
        custom_keys={
            "STReasoner.fut_temporal_transformer": _forecaster,
            "STReasoner.future_reg": _forecaster,
        }
    ),
)
runner = dict(max_epochs=1)
load_from = "ckpts/demo/f3_demo.pth"
