# Full resolution: the same frames at 1600x640.
_base_ = "./nuscenes_tracking_800x320.py"
ida_aug_conf = dict(resize_lim=(0.94, 1.25), final_dim=(640, 1600))
data = dict(
    train=dict(ida_aug_conf=ida_aug_conf),
    val=dict(ida_aug_conf=ida_aug_conf),
    test=dict(ida_aug_conf=ida_aug_conf),
)
