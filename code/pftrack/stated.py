"""Settings that configurations state although nothing here reads them: which ones, and why.

This is the one list of them. Sections and components take such settings through :func:`accept`,
which refuses unknown ones and values that ask for something else than what is done. What somebody
could believe to have an effect is named when a training starts (:func:`notes`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pftrack.errors import UserError


@dataclass(frozen=True)
class Stated:
    """A setting that nothing reads.

    Attributes:
        why: it has no effect.
        only: values that may be stated, all of them what is done anyway; None: any.
        done: values that ask for what is done anyway; others are accepted, and named in the log.
        instead: dotted path of the setting that counts; the same value here is not named.
        unless: a switch beside it (by default on) that makes it count.
        quiet: no value is worth naming; what stands below it may be.
    """

    why: str
    only: tuple[Any, ...] | None = None
    done: tuple[Any, ...] = ()
    instead: str | None = None
    unless: str | None = None
    quiet: bool = False

    def counts(self, beside: Mapping[str, Any]) -> bool:
        """Whether it is read after all, in this section."""
        return self.unless is not None and bool(beside.get(self.unless, True))

    def goes_without_saying(self, value: Any, cfg: Any) -> bool:
        """Whether nobody needs to be told that ``value`` has no effect; cfg: everything stated."""
        if self.only is not None or value is None:
            return True
        if self.instead is not None and same(value, find(cfg, self.instead)):
            return True
        return any(same(value, done) for done in self.done)


_POINTS = "no model here reads points"
_VOXELS = "there are no voxels"
_LOSS = "matching and losses are those of model.loss"
_EVALUATION = "evaluation is streaming tracking of data.val"
_CODER_RANGE = "model.pts_bbox_head.bbox_coder.pc_range"
_BUILT_IN = "built in"


def _loss(name: str) -> Stated:
    return Stated(_LOSS, instead=f"model.loss.{name}")


_HEAD = {
    "bbox_coder": Stated("the tracker builds it", quiet=True),
    "num_query": Stated("model.num_query counts", instead="model.num_query"),
    "loss_cls": _loss("loss_cls"),
    "loss_bbox": _loss("loss_bbox"),
    "loss_iou": _loss("loss_iou"),
    "code_weights": _loss("code_weights"),
    "sync_cls_avg_factor": Stated(_LOSS, done=(False,)),
    "train_cfg": Stated(_LOSS),
    "test_cfg": Stated("thresholds are those of model.runtime_tracker"),
    "with_position": Stated(_BUILT_IN, only=(True,)),
    "with_multiview": Stated(_BUILT_IN, only=(True,)),
    "normedlinear": Stated("branches are linear", only=(False,)),
    "as_two_stage": Stated("queries are the tracker's", only=(False,)),
}
_NECK = dict.fromkeys(
    ["add_extra_convs", "relu_before_extra_convs"],
    Stated("about levels that are added: none is", quiet=True),
)
_CODER = {"voxel_size": Stated(_VOXELS)}
_TEST_SPLIT = {
    "num_frames_per_sample": Stated("testing goes frame by frame", done=(1,)),
    "test_mode": Stated("testing is in test mode", done=(True,)),
}
_WITHOUT = Stated("not loaded here", only=(False,))
_TRANSFORMS: dict[str, dict[str, Stated]] = {
    "LoadPointsFromFile": {"": Stated(_POINTS)},
    "LoadPointsFromMultiSweeps": {"": Stated(_POINTS)},
    "LoadMultiViewImageFromFiles": {
        "to_float32": Stated("images become float32 on the device", quiet=True),
        "color_type": Stated("images have three channels", only=("unchanged", "color")),
    },
    "LoadAnnotations3D": {
        "with_bbox_3d": Stated(_BUILT_IN, only=(True,)),
        "with_label_3d": Stated(_BUILT_IN, only=(True,)),
        **dict.fromkeys(
            ["with_attr_label", "with_mask_3d", "with_seg_3d", "with_bbox", "with_label"], _WITHOUT
        ),
        **dict.fromkeys(["with_mask", "with_seg", "with_bbox_depth"], _WITHOUT),
    },
    "PadMultiViewImage": {
        "size": Stated("images are padded by size_divisor", only=(None,)),
        "pad_val": Stated("padding is black", only=(0,)),
    },
    "NormalizeMultiviewImage": {"to_rgb": Stated("models take BGR", only=(False,))},
    "Collect3D": dict.fromkeys(["keys", "meta_keys"], Stated("clips are typed", quiet=True)),
    "FormatBundle3D": {"class_names": Stated("the dataset's classes count", quiet=True)},
    "FormatBundle3DTrack": dict.fromkeys(
        ["with_gt", "with_label"], Stated("training has targets, testing none", only=(True,))
    ),
    "DefaultFormatBundle3D": {
        "with_label": Stated("training has targets, testing none", quiet=True)
    },
    "MultiScaleFlipAug3D": {
        "img_scale": Stated("ida_aug_conf counts", quiet=True),
        "pts_scale_ratio": Stated(_POINTS, quiet=True),
        "flip": Stated("testing does not augment", only=(False,)),
    },
}

# By the name of a section (the last part of its path; "" the whole file) or a component's type.
# Entries: "" the whole component, "*" any other setting.
STATED: dict[str, dict[str, Stated]] = {
    "": {
        "dist_params": Stated(
            "the backend follows the device: nccl or gloo", done=({"backend": "nccl"},)
        ),
        "mp_start_method": Stated("the loader's workers are forked", done=("fork",)),
        "opencv_num_threads": Stated("each worker decodes with one thread", done=(0, 1)),
        "log_level": Stated("the log has one level", done=("INFO",)),
        "gpu_ids": Stated("torchrun assigns the GPUs"),
        "auto_scale_lr": Stated("lr is taken as written"),
        "momentum_config": Stated("momentum is constant"),
        "device": Stated("chosen by --device"),
        "auto_resume": Stated("chosen by --auto-resume", done=(False,)),
    },
    "evaluation": {
        **dict.fromkeys(["pipeline", "metric", "jsonfile_prefix"], Stated(_EVALUATION)),
        "by_epoch": Stated("evaluation is by epochs", done=(True,)),
        "gpu_collect": Stated("processes share files", quiet=True),
        "tmpdir": Stated("results go to the work dir"),
        "rule": Stated("the larger value is the better", only=("greater",)),
    },
    "checkpoint_config": {
        "type": Stated(_BUILT_IN, only=("CheckpointHook",)),
        "save_optimizer": Stated("checkpoints hold the whole state", done=(True,)),
        "out_dir": Stated("checkpoints go to the work dir"),
        "save_last": Stated("the last state is always saved", done=(True,)),
        "sync_buffer": Stated("processes have equal buffers", quiet=True),
        "create_symlink": Stated("latest.pth is a link", done=(True,)),
    },
    "data": {
        "visualization": Stated("tools/make_video.py draws results files"),
        "persistent_workers": Stated("workers live for an epoch", done=(False,)),
        "prefetch_factor": Stated("torch's default", done=(2,)),
        **dict.fromkeys(
            ["shuffler_sampler", "nonshuffler_sampler"],
            Stated(
                "one resumable sampler, every sample once an epoch",
                only=("GroupSampler", "DistributedGroupSampler", "DistributedSampler"),
            ),
        ),
    },
    "val": _TEST_SPLIT,
    "test": _TEST_SPLIT,
    "test_tracking": _TEST_SPLIT,
    "NuScenesTrackingDataset": {
        "box_type_3d": Stated("boxes are in the lidar frame", only=("LiDAR",)),
        "samples_per_gpu": Stated("data.samples_per_gpu counts"),
        "collect_keys": Stated("clips are typed", quiet=True),
    },
    "modality": {
        "use_camera": Stated(_BUILT_IN, only=(True,)),
        "use_lidar": Stated(_POINTS, done=(False,)),
        "use_radar": Stated("no model here reads it", only=(False,)),
        "use_map": Stated("no model here reads it", only=(False,)),
        "use_external": Stated("no model here reads it", only=(False,)),
    },
    "Cam3DTracker": {
        "test_cfg": Stated("thresholds are those of model.runtime_tracker"),
        "pretrained": Stated("use load_from", only=(None,)),
        "init_cfg": Stated("use load_from", only=(None,)),
        "position_range": Stated(
            "the head's position_range counts", instead="model.pts_bbox_head.position_range"
        ),
    },
    "pts": {
        **dict.fromkeys(["grid_size", "voxel_size", "out_size_factor"], Stated(_VOXELS)),
        "point_cloud_range": Stated(_VOXELS, instead=_CODER_RANGE),
        "assigner": _loss("assigner"),
        "*": Stated(_LOSS),
    },
    "spatial_temporal_reason": {
        name: Stated("this reasoning is off", unless=switch)
        for name, switch in (
            ("hist_temporal_transformer", "history_reasoning"),
            ("spatial_transformer", "history_reasoning"),
            ("fut_temporal_transformer", "future_reasoning"),
        )
    },
    "FPN": _NECK,
    "CPFPN": _NECK,
    "pts_bbox_head": _HEAD,
    "DETR3DCamTrackingHead": {
        "positional_encoding": Stated("DETR3D's queries find their pixels by projection"),
    },
    "TrackNMSFreeCoder": _CODER,
    "NMSFreeCoder": _CODER,
    "HungarianAssigner3D": {
        "pc_range": Stated("boxes are compared in metres", instead=_CODER_RANGE)
    },
    "NumClassCheckHook": {"": Stated("the number of classes is checked", quiet=True)},
    "CheckInvalidLossHook": {"": Stated("nan_guard does its work")},
    "EmptyCacheHook": {"": Stated("torch keeps its cache")},
    "IterTimerHook": {"": Stated(_BUILT_IN, quiet=True)},
    "DistSamplerSeedHook": {"": Stated(_BUILT_IN, quiet=True)},
    **{
        prefix + name: table
        for prefix in ("", "Track", "Forecast")
        for name, table in _TRANSFORMS.items()
    },
}


_SECTIONS = ("data", "model", "evaluation", "checkpoint_config", "custom_hooks")


def accept(settings: Mapping[str, Any], *owners: str, read: Collection[str] = ()) -> None:
    """Accept settings of published configurations that nothing reads.

    Args:
        settings: what is stated.
        owners: keys of :data:`STATED`, where they have entries; messages name the first.
        read: settings that somebody reads, so that a misspelling of them is recognised.

    Raises:
        UserError: an unknown setting, or a value that asks for something else than what is done.
    """
    table: dict[str, Stated] = {}
    for owner in owners:
        table |= STATED.get(owner, {})
    if "" in table:
        return
    for key, value in settings.items():
        if key in read:
            continue
        entry = table.get(key, table.get("*"))
        if entry is None:
            raise unknown_setting(owners[0], key, {*read, *table})
        if isinstance(value, Mapping):
            value = value.get("type", value)
        if entry.only is not None and value is not None and value not in entry.only:
            raise UserError(
                f"'{owners[0]}.{key}={value}' in the config is not supported ({entry.why}), use "
                f"{' or '.join(map(repr, entry.only))}"
            )


def unknown_setting(where: str, key: str, known: Collection[str]) -> UserError:
    """The error that names a setting of a section or component, and the nearest known one."""
    close = difflib.get_close_matches(key, sorted(known), n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"
    named = f"'{key}' of {where}" if where[:1].isupper() else f"'{where}.{key}'"
    return UserError(f"unknown setting {named} in the config: {hint}")


def without_effect(cfg: Mapping[str, Any]) -> dict[str, list[str]]:
    """Settings of ``cfg`` that have no effect, as dotted paths, by the reason.

    In a list of components, such as a pipeline, a path has the component's type.
    """
    found: dict[str, list[str]] = {}
    names = [name for name in (*STATED[""], *_SECTIONS) if name in cfg]
    _collect(cfg, {name: cfg[name] for name in names}, "", "", found)
    return found


def notes(cfg: Mapping[str, Any]) -> list[str]:
    """:func:`without_effect` as one line for each reason."""
    return [
        f"stated in the config, without effect here: {', '.join(_merge_splits(names))} ({why})"
        for why, names in without_effect(cfg).items()
    ]


def _collect(cfg: Any, node: Any, path: str, name: str, found: dict[str, list[str]]) -> None:
    """Note what has no effect in ``node``, which stands at ``path`` under ``name``."""
    if isinstance(node, (list, tuple)):
        for item in node:
            kind = item.get("type", "") if isinstance(item, Mapping) else ""
            _collect(cfg, item, f"{path}.{kind}", name, found)
    if not isinstance(node, Mapping):
        return
    table = {**STATED.get(name, {}), **STATED.get(str(node.get("type", name)), {})}
    if "" in table:
        if not table[""].quiet:
            found.setdefault(table[""].why, []).append(path)
        return
    for key, value in node.items():
        entry = table.get(key, table.get("*"))
        here = f"{path}.{key}".lstrip(".")
        if entry is None or entry.quiet or entry.counts(node):
            _collect(cfg, value, here, key, found)
        elif not entry.goes_without_saying(value, cfg):
            found.setdefault(entry.why, []).append(here)


def _merge_splits(names: list[str]) -> list[str]:
    """``data.val.x`` and ``data.test.x`` as ``data.val/test.x``."""
    splits: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(r"data\.(\w+)\.(.+)", name)
        splits.setdefault(match[2] if match else name, []).extend([match[1]] if match else [])
    return [f"data.{'/'.join(of)}.{rest}" if of else rest for rest, of in splits.items()]


def find(cfg: Any, path: str) -> Any:
    """The value at a dotted path of a configuration; None where there is none."""
    for part in path.split("."):
        if not hasattr(cfg, "keys") or part not in cfg:
            return None
        cfg = cfg[part]
    return cfg


def same(a: Any, b: Any) -> bool:
    """Equality of configuration values: lists and tuples are the same."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
