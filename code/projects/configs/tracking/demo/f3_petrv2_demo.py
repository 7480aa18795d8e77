# PETRv2's head on generated data, the example of docs/detection_heads.md: clips of three frames.
# Of f1_demo it takes what fits: the backbone, self-attention and branches of the head.
_base_ = ["./f3_demo.py"]

model = dict(
    img_backbone=dict(out_features=("stage4", "stage5")),
    img_neck=dict(in_channels=[192, 256], num_outs=2),
    pts_bbox_head=dict(
        _delete_=True,
        type="PETRv2CamTrackingHead",
        num_classes=10,
        in_channels={{_base_.dims}},
        embed_dims={{_base_.dims}},
        depth_num=16,
        position_range={{_base_.post_range}},
        positional_encoding=dict(type="SinePositionalEncoding3D", num_feats=64),
        transformer=dict(
            type="PETRTransformer",
            decoder=dict(
                type="PETRTransformerDecoder",
                num_layers=3,
                transformerlayers=dict(
                    type="PETRTransformerDecoderLayer",
                    attn_cfgs=[{{_base_.attention}}, {{_base_.attention}}],
                    feedforward_channels=256,
                    ffn_dropout=0.0,
                ),
            ),
        ),
        bbox_coder=dict(
            type="TrackNMSFreeCoder",
            pc_range={{_base_.pc_range}},
            post_center_range={{_base_.post_range}},
            max_num=150,
            num_classes=10,
        ),
    ),
)
load_from = "ckpts/demo/f1_demo.pth"
