# A DETR3D of 1.5 M parameters for two CPU cores. From random weights: batch statistics, no dropout.
_base_ = "./detr3d.py"
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
