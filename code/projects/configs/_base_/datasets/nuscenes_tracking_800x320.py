# nuScenes key frames of six cameras at 800x320; `make data` writes the info files.
# Leaf configurations set data.train.num_frames_per_sample and, for flips, ida_aug_conf.rand_flip.
data_root = "data/nuscenes/"
class_names = [
    "car", "truck", "bus", "trailer", "motorcycle", "bicycle", "pedestrian",
    "construction_vehicle", "traffic_cone", "barrier",
]  # fmt: skip
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
ida_aug_conf = dict(
    resize_lim=(0.47, 0.625),
    final_dim=(320, 800),
    bot_pct_lim=(0.0, 0.0),
    rot_lim=(0.0, 0.0),
    H=900,
    W=1600,
    rand_flip=False,
)
img_norm_cfg = dict(mean=[103.530, 116.280, 123.675], std=[57.375, 57.120, 58.395], to_rgb=False)

_dataset = dict(
    type="NuScenesTrackingDataset",
    data_root=data_root,
    classes=class_names,
    point_cloud_range=point_cloud_range,
    ida_aug_conf=ida_aug_conf,
    img_norm_cfg=img_norm_cfg,
    size_divisor=32,
    use_valid_flag=True,
)
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=4,
    train=dict(
        _dataset,
        ann_file=data_root + "tracking_forecasting_infos_train.pkl",
        num_frames_per_sample=1,
    ),
    val=dict(_dataset, ann_file=data_root + "tracking_forecasting_infos_val.pkl"),
    test=dict(_dataset, ann_file=data_root + "tracking_forecasting_infos_val.pkl"),
)
del _dataset
