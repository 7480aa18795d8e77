# Step one, DETR3D, 1600x640: a detector of single frames, tracked by its queries.
# 12 epochs, as the release's file says, although step two starts from a file called e24.
_base_ = [
    "../../_base_/datasets/nuscenes_tracking_1600x640.py",
    "../../_base_/models/detr3d.py",
    "../../_base_/schedules/adamw_cosine_12e.py",
    "../../_base_/default_runtime.py",
]
data = dict(train=dict(ida_aug_conf=dict(rand_flip=True)))
load_from = "ckpts/fcos3d_vovnet_imgbackbone-remapped.pth"
