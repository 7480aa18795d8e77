# PETR's neck and head: queries attend to the finest map of all cameras.
_base_ = "./tracker.py"
model = dict(
    img_neck=dict(type="CPFPN", in_channels=[768, 1024], out_channels=256, num_outs=2),
    pts_bbox_head=dict(
        type="PETRCamTrackingHead",
        num_classes=10,
        in_channels=256,
        LID=True,
        depth_num=64,
        depth_start=1.0,
        position_range={{_base_.post_range}},
        positional_encoding=dict(type="SinePositionalEncoding3D", num_feats=128, normalize=True),
        transformer=dict(
            type="PETRTransformer",
            decoder=dict(
                type="PETRTransformerDecoder",
                num_layers=6,
                return_intermediate=True,
                transformerlayers=dict(
                    type="PETRTransformerDecoderLayer",
                    attn_cfgs=[
                        dict(type="MultiheadAttention", embed_dims=256, num_heads=8, dropout=0.1),
                        dict(
                            type="PETRMultiheadAttention", embed_dims=256, num_heads=8, dropout=0.1
                        ),
                    ],
                    feedforward_channels=2048,
                    ffn_dropout=0.1,
                    with_cp=False,
                    operation_order=("self_attn", "norm", "cross_attn", "norm", "ffn", "norm"),
                ),
            ),
        ),
        bbox_coder=dict(
            type="TrackNMSFreeCoder",
            pc_range={{_base_.pc_range}},
            post_center_range={{_base_.post_range}},
            max_num=300,
            num_classes=10,
        ),
    ),
)
