# Step two on generated data: clips of three frames, past and future reasoning, from f1_demo.
_base_ = ["./f1_demo.py"]

_decoder = dict(
    type="PETRTransformerDecoder",
    num_layers=1,
    transformerlayers=dict(
        type="PETRTransformerDecoderLayer",
        attn_cfgs=[{{_base_.attention}}, {{_base_.attention}}],
        feedforward_channels=256,
        ffn_dropout=0.0,
    ),
)
_transformer = dict(type="TemporalTransformer", decoder=_decoder)
# Eight steps in two coordinates for every history: one layer's 128 numbers are few for them.
_wide = dict(_decoder["transformerlayers"], feedforward_channels=512)
_future_transformer = dict(
    type="TemporalTransformer", decoder=dict(_decoder, num_layers=2, transformerlayers=_wide)
)
model = dict(
    tracking=True,
    if_update_ego=True,
    motion_prediction=True,
    motion_prediction_ref_update=True,
    runtime_tracker=dict(record_threshold=0.4, max_age_since_update=7),
    spatial_temporal_reason=dict(
        history_reasoning=True,
        future_reasoning=True,
        fut_len=8,
        hist_temporal_transformer=_transformer,
        spatial_transformer=_transformer,
        fut_temporal_transformer=_future_transformer,
    ),
)
data = dict(samples_per_gpu=1, train=dict(num_frames_per_sample=3))
optimizer = dict(lr=3e-4)
runner = dict(max_epochs=2)
load_from = "ckpts/demo/f1_demo.pth"
