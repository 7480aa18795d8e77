# Generated data (tools/make_demo_data.py), images of 128x320.
_base_ = "./nuscenes_tracking_800x320.py"
data_root = "work_dirs/demo/nuscenes/"
ida_aug_conf = dict(
    resize_lim=(0.2, 0.23),
    final_dim=(128, 320),
    bot_pct_lim=(0.0, 0.0),
    H=900,
    W=1600,
    rand_flip=True,
)
_paths = dict(data_root=data_root, ida_aug_conf=ida_aug_conf)
_infos = data_root + "tracking_forecasting-mini_infos_"
data = dict(
    samples_per_gpu=3,
    workers_per_gpu=1,
    train=dict(_paths, ann_file=_infos + "train.pkl"),
    val=dict(_paths, ann_file=_infos + "val.pkl"),
    test=dict(_paths, ann_file=_infos + "val.pkl"),
)
