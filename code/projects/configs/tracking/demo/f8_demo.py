# Step two continued on generated data, from f5_demo: clips of eight frames, from long scenes.
_base_ = ["./f5_demo.py"]

data = dict(train=dict(num_frames_per_sample=8))
_forecaster = dict(lr_mult=2.0)
# Half of these units had died at the rate of the rest (checkpoints/demo/README.md).
_embedding = dict(lr_mult=0.3)
optimizer = dict(
    lr=3e-4,
    paramwise_cfg=dict(
        custom_keys={
            "STReasoner.fut_temporal_transformer": _forecaster,
            "STReasoner.future_reg": _forecaster,
            "STReasoner.ts_query_embed": _embedding,
            "query_embedding": _embedding,
        }
    ),
)
runner = dict(max_epochs=4)
