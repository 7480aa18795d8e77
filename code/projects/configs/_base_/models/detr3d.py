# DETR3D's head: queries sample four maps where their reference points project to.
_base_ = "./tracker.py"
model = dict(
    img_backbone=dict(out_features=("stage2", "stage3", "stage4", "stage5")),
    img_neck=dict(
        type="CPFPN",
        in_channels=[256, 512, 768, 1024],
        out_channels=256,
        num_outs=4,
        add_extra_convs="on_output",
    ),
    pts_bbox_head=dict(
        type="DETR3DCamTrackingHead",
        num_classes=10,
        in_channels=256,
        with_box_refine=True,
        transformer=dict(
            type="Detr3DTransformer",
            decoder=dict(
                type="Detr3DTransformerDecoder",
                num_layers=6,
                return_intermediate=True,
                transformerlayers=dict(
                    type="DetrTransformerDecoderLayer",
                    attn_cfgs=[
                        dict(type="MultiheadAttention", embed_dims=256, num_heads=8, dropout=0.1),
                        dict(
                            type="Detr3DCrossAtten",
                            pc_range={{_base_.pc_range}},
                            num_points=1,
                            num_levels=4,
                            embed_dims=256,
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
