"""nuScenes clips for training and frames for tracking, from info files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from pftrack.datasets.augmentation import ImageAugmentation, Resizer, draw_augmentation
from pftrack.datasets.clips import clip_indices
from pftrack.datasets.collate import ClipSample
from pftrack.datasets.frames import (
    info_to_frame,
    padded_size,
    prepare_frame,
)
from pftrack.datasets.image_config import AugmentationConfig, pad_divisor, pixel_norm
from pftrack.datasets.info_schema import ANNOTATION_KEYS, FORECASTING_KEYS
from pftrack.datasets.infos import (
    Info,
)
from pftrack.datasets.packed_infos import PackedInfos
from pftrack.datasets.release_pipelines import PIPELINE_KEYS, settings_from_pipelines
from pftrack.datasets.splits import load_split
from pftrack.datasets.targets import frame_targets
from pftrack.errors import UserError
from pftrack.paths import portable
from pftrack.registry import DATASETS, TRANSFORMS
from pftrack.stated import accept
from pftrack.structures import CLASSES, Frame, FrameTargets
from pftrack.values import AtLeastOne, Range, check_range


@DATASETS.register_module()
class NuScenesTrackingDataset(Dataset[ClipSample]):
    """Clips of ``num_frames_per_sample`` key frames, or single frames in order for testing.

    A training sample is a function of (seed, epoch, index): the same whichever worker, rank or
    resumed run asks for it.

    Args:
        ann_file: info file (tools/create_data.py, or the original's).
        data_root: folder that holds ``samples/``; None: paths as in the info file.
        num_frames_per_sample: frames T of a training clip (1 in testing).
        ida_aug_conf: see :class:`AugmentationConfig`.
        classes: their order gives the labels.
        point_cloud_range: ground truth whose centre lies outside in x, y is left out; None: all.
        img_norm_cfg: ``mean`` and ``std`` (BGR) that the batch is normalised with on the device.
        size_divisor: images are zero-padded at the right and bottom to multiples of it.
        test_mode: frames in order, fixed augmentation, no targets.
        use_valid_flag: ground truth needs lidar or radar points; otherwise lidar points.
        filter_empty_gt: instead of a training clip with a frame without ground truth, another one
            is drawn, as in the original.
        forecasting: require future positions in the info file.
        version: nuScenes version the info file must be of; None: any.
        split: name or file of a split whose scenes are taken (:mod:`pftrack.nuscenes.splits`), also
            from the info file of the other official split beside this one; None: all of the file.
        resizer: ``torch``, or ``pillow`` for the original's pixels bit for bit.
        transforms: extra transforms (built from ``TRANSFORMS``), called on each
            :class:`ClipSample` in turn with the sample's random generator (None in testing).
        seed: of the augmentation.
        pipeline, pipeline_single, pipeline_post, pipeline_multiframe: of the original's
            configurations, read by :mod:`release_pipelines`.
        modality: of the original's configurations; cameras are the only input.

    Raises:
        UserError: from the info file (:func:`load_split`), the settings, or an image.
    """

    def __init__(
        self,
        ann_file: str | Path,
        data_root: str | Path | None = None,
        num_frames_per_sample: AtLeastOne = 1,
        ida_aug_conf: Mapping[str, Any] | None = None,
        classes: Sequence[str] = CLASSES,
        point_cloud_range: Range | None = None,
        img_norm_cfg: Mapping[str, Any] | None = None,
        size_divisor: AtLeastOne = 32,
        test_mode: bool = False,
        use_valid_flag: bool = True,
        filter_empty_gt: bool = True,
        forecasting: bool = True,
        version: str | None = None,
        split: str | None = None,
        resizer: Resizer = "torch",
        transforms: Sequence[Mapping[str, Any]] = (),
        seed: int = 0,
        **mm_settings: Any,
    ) -> None:
        self.CLASSES = tuple(classes or CLASSES)
        read = _read_mm_settings(mm_settings, self.CLASSES)
        ida_aug_conf = read.get("ida_aug_conf", ida_aug_conf)
        if ida_aug_conf is None:
            raise UserError("the dataset in the config has no 'ida_aug_conf' (image size)")
        norm = dict(read.get("img_norm_cfg", img_norm_cfg) or {})
        if norm.pop("to_rgb", False):
            raise UserError("img_norm_cfg in the config: to_rgb=True is not supported (BGR only)")
        self.mean, self.std = pixel_norm(norm)
        self.augmentation = AugmentationConfig.from_dict(ida_aug_conf)
        self.ann_file = ann_file
        self.data_root = None if data_root is None else portable(data_root)
        self.num_frames = 1 if test_mode else int(num_frames_per_sample)
        self.point_cloud_range = read.get("point_cloud_range", point_cloud_range)
        if self.point_cloud_range is not None:
            check_range("point_cloud_range", self.point_cloud_range)
        self.size_divisor = pad_divisor(read.get("size_divisor", size_divisor))
        self.test_mode = test_mode
        self.use_valid_flag = use_valid_flag
        self.filter_empty_gt = filter_empty_gt
        self.forecasting = bool(forecasting and read.get("forecasting", True))
        self.resizer: Resizer = resizer
        self.transforms: list[Callable[..., ClipSample]] = [
            TRANSFORMS.build(dict(transform)) for transform in transforms
        ]
        self.seed = seed
        self.epoch = 0
        needed = () if test_mode else (*ANNOTATION_KEYS, *(FORECASTING_KEYS * self.forecasting))
        info_file = load_split(ann_file, split, data_root, version, needed)
        self.split = split
        self.cameras = info_file.cameras
        for camera, count in info_file.dropouts.items():
            print(f"{ann_file}: {camera} has no image in {count} of {len(info_file)} frames")
        self.version = info_file.version
        self.scenes = info_file.scenes
        self.infos = PackedInfos(info_file.infos)
        self._scene_of = [scene for scene in self.scenes.values() for _ in scene]

    def __len__(self) -> int:
        return len(self.infos)

    def set_epoch(self, epoch: int) -> None:
        """Choose the augmentations of ``epoch``; before the loader's workers start."""
        self.epoch = epoch

    def frame(self, index: int) -> Frame:
        """Key frame ``index`` as a user of the streaming API would have it."""
        return info_to_frame(self.infos[index], self.data_root)

    def test_augmentation(self) -> ImageAugmentation:
        """The fixed resize and crop of testing."""
        return draw_augmentation(self.augmentation, None)

    def __getitem__(self, index: int) -> ClipSample:
        random = None
        if not self.test_mode:
            random = np.random.RandomState([self.seed % 2**32, self.epoch, index])
        infos, targets = self._clip(index, random)
        augmentation = draw_augmentation(self.augmentation, random)
        height, width = padded_size(augmentation.size, self.size_divisor)
        img = torch.zeros((len(infos), len(self.cameras), height, width, 3), dtype=torch.uint8)
        frames = [info_to_frame(info, self.data_root) for info in infos]
        arrays = [
            prepare_frame(frame, augmentation, self.size_divisor, self.resizer, out, mean=self.mean)
            for frame, out in zip(frames, img, strict=True)
        ]
        sample = ClipSample(
            img=img,
            img_shape=augmentation.size,
            lidar2img=np.stack([a.lidar2img for a in arrays]),
            l2g=np.stack([a.l2g for a in arrays]),
            timestamp=np.array([a.timestamp for a in arrays]),
            sample_tokens=[frame.sample_token for frame in frames],
            scene_id=str(frames[-1].scene_id),
            mean=self.mean,
            std=self.std,
            targets=targets,
        )
        for transform in self.transforms:
            sample = transform(sample, random)
        return sample

    def _clip(
        self, index: int, random: np.random.RandomState | None
    ) -> tuple[list[Info], list[FrameTargets]]:
        """Infos and targets of clip ``index``, or of one drawn in its place (filter_empty_gt).

        Raises:
            UserError: every clip has a frame without ground truth.
        """
        infos = self._clip_infos(index)
        if random is None:
            return infos, []
        targets = [self._targets(info) for info in infos]
        if not self.filter_empty_gt or all(len(frame) for frame in targets):
            return infos, targets
        for other in random.permutation(len(self)):
            infos = self._clip_infos(int(other))
            targets = [self._targets(info) for info in infos]
            if all(len(frame) for frame in targets):
                return infos, targets
        raise UserError(
            f"no clip of {self.ann_file} has ground truth in every frame (classes "
            f"{', '.join(self.CLASSES)}, range {self.point_cloud_range}): correct these settings "
            "in the config, or set data.train.filter_empty_gt=False"
        )

    def _clip_infos(self, index: int) -> list[Info]:
        indices = clip_indices(index, self._scene_of[index], self.num_frames)
        return [self.infos[i] for i in indices]

    def _targets(self, info: Info) -> FrameTargets:
        return frame_targets(info, self.CLASSES, self.point_cloud_range, self.use_valid_flag)


def _read_mm_settings(settings: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Arguments that settings of the original's configurations stand for."""
    accept(settings, "NuScenesTrackingDataset", read=(*PIPELINE_KEYS, "modality"))
    accept(settings.get("modality") or {}, "modality")
    read = settings_from_pipelines(settings.get(key) for key in PIPELINE_KEYS)
    lost = [name for name in classes if name not in read.get("classes", classes)]
    if lost:
        raise UserError(
            f"the dataset in the config has the class '{lost[0]}', which its TrackObjectNameFilter "
            "drops: give both the same classes"
        )
    return read
