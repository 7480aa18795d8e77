# nuScenes at 704x256, normalised as ResNet's caffe weights want it: BGR of unit scale.
_base_ = "./nuscenes_tracking_800x320.py"
ida_aug_conf = dict(resize_lim=(0.38, 0.55), final_dim=(256, 704))
img_norm_cfg = dict(mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
_images = dict(ida_aug_conf=ida_aug_conf, img_norm_cfg=img_norm_cfg)
data = dict(train=_images, val=_images, test=_images)
del _images
