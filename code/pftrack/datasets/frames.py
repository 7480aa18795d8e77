"""Infos -> frames -> arrays for the model: one path for training, evaluation and streaming."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pftrack import geometry
from pftrack.datasets.augmentation import ImageAugmentation, Resizer
from pftrack.datasets.image_loading import read_image
from pftrack.datasets.infos import Info
from pftrack.errors import UserError
from pftrack.frames import PIXEL_MEAN, Frame
from pftrack.nuscenes.facts import MOST_CAMERAS
from pftrack.paths import portable

if TYPE_CHECKING:
    from torch import Tensor

# The folders that file names of nuScenes tables begin with.
_DATA_FOLDERS = ("samples", "sweeps")


@dataclass
class FrameArrays:
    """One frame as the model needs it.

    Attributes:
        img: [V, H, W, 3] uint8 BGR, zero outside ``img_shape``.  img_shape: (h, w).
        lidar2img: [V, 4, 4] float64, lidar points (m) to pixels of ``img``.
        l2g: [4, 4] float32 lidar to global.  timestamp: s.
    """

    img: Tensor | np.ndarray
    img_shape: tuple[int, int]
    lidar2img: np.ndarray
    l2g: np.ndarray
    timestamp: float


def info_to_frame(info: Info, data_root: str | Path | None = None) -> Frame:
    """The frame of an info; images stay paths.

    Args:
        data_root: folder that holds ``samples/``; replaces whatever folder the info file was made
            in. None: paths as the info has them.
    """
    cams = list(info["cams"].values())  # in the order of the rig, where load_infos has read them
    sensor2lidar = geometry.pose_matrix(
        np.stack([cam["sensor2lidar_rotation"] for cam in cams]),
        np.stack([cam["sensor2lidar_translation"] for cam in cams]),
    )

    def poses(name: str) -> np.ndarray:
        return geometry.pose_matrix(
            [cam[f"{name}_rotation"] for cam in cams], [cam[f"{name}_translation"] for cam in cams]
        )

    return Frame(
        images=[
            resolve_path(cam["data_path"], data_root) if cam["data_path"] else None for cam in cams
        ],
        intrinsics=np.stack([np.asarray(cam["cam_intrinsic"], dtype=np.float64) for cam in cams]),
        sensor2ego=poses("sensor2ego"),
        camera_ego2global=poses("ego2global"),
        lidar2ego=geometry.pose_matrix(info["lidar2ego_rotation"], info["lidar2ego_translation"]),
        ego2global=geometry.pose_matrix(
            info["ego2global_rotation"], info["ego2global_translation"]
        ),
        timestamp=info["timestamp"] / 1e6,
        scene_id=info["scene_token"],
        sample_token=info["token"],
        lidar2cam=np.linalg.inv(sensor2lidar),
        cameras=tuple(info["cams"]),
    )


def resolve_path(path: str, data_root: str | Path | None) -> Path:
    """``data_root`` / the part of ``path`` from samples/ or sweeps/ on, when there is one."""
    parts = portable(path).parts
    if data_root is not None:
        for start in range(len(parts) - 1, -1, -1):
            if parts[start] in _DATA_FOLDERS:
                return Path(data_root, *parts[start:])
    return portable(path)


def lidar2cam_matrices(frame: Frame) -> np.ndarray:
    """[V, 4, 4] lidar to camera, through the ego poses at key frame and exposure.

    ``frame.lidar2cam`` is taken where given.
    """
    if frame.lidar2cam is not None:
        return np.asarray(frame.lidar2cam, dtype=np.float64)
    lidar2global = np.asarray(frame.ego2global) @ np.asarray(frame.lidar2ego)
    camera2global = np.asarray(frame.camera_ego2global) @ np.asarray(frame.sensor2ego)
    return geometry.invert_pose(camera2global.astype(np.float64)) @ lidar2global


def check_shapes(frame: Frame) -> None:
    """One matrix of each kind for each image.

    Raises:
        UserError: matrices of another shape, or none.
    """
    count = len(frame.images)
    if not 1 <= count <= MOST_CAMERAS or all(image is None for image in frame.images):
        raise UserError(
            f"frame {frame.sample_token or frame.timestamp}: {count} images, of which at least one "
            f"must be there and at most {MOST_CAMERAS} may be"
        )
    expected = {
        "intrinsics": (count, 3, 3),
        "sensor2ego": (count, 4, 4),
        "camera_ego2global": (count, 4, 4),
        "lidar2ego": (4, 4),
        "ego2global": (4, 4),
    }
    for name, shape in expected.items():
        actual = np.shape(getattr(frame, name))
        if actual != shape:
            raise UserError(
                f"frame {frame.sample_token or frame.timestamp}: {name} has the shape {actual}, "
                f"needs {shape} for {count} images"
            )


def padded_size(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """(h, w) rounded up to multiples of ``divisor``."""
    return -(-size[0] // divisor) * divisor, -(-size[1] // divisor) * divisor


def prepare_frame(
    frame: Frame,
    augmentation: ImageAugmentation,
    size_divisor: int = 32,
    resizer: Resizer = "torch",
    out: Tensor | np.ndarray | None = None,
    pool: ThreadPoolExecutor | None = None,
    pin: bool = False,
    mean: Sequence[float] = PIXEL_MEAN,
) -> FrameArrays:
    """Decode, augment and pad the images of a frame, and bring its matrices along.

    Args:
        mean: BGR, what images are normalised by: a camera without an image shows it, so that the
            network sees zeros, as in the padding.
        out: [V, H, W, 3] uint8 zeros to write the images to; None: new ones.
        pool: threads for the cameras (decoding and resizing release the GIL); None: one by one.
        pin: new images in page-locked memory, from which a GPU copies without anybody waiting.

    Raises:
        UserError: an image that cannot be read.
    """
    height, width = augmentation.size
    if out is None:
        padded = padded_size((height, width), size_divisor)
        import torch  # deployed trackers, which do without it, give ``out``

        out = torch.zeros((len(frame.images), *padded, 3), dtype=torch.uint8, pin_memory=pin)
    target = np.asarray(out)

    def load(camera: int) -> tuple[int, int]:
        source = frame.images[camera]
        if source is None:
            target[camera, :height, :width] = np.round(mean)
            # Its size, as far as the principal point tells.
            center = np.asarray(frame.intrinsics[camera], dtype=np.float64)[:2, 2]
            return max(1, round(2 * center[1])), max(1, round(2 * center[0]))
        image = read_image(source)
        target[camera, :height, :width] = augmentation(image, resizer)
        return image.shape[0], image.shape[1]

    cameras = range(len(frame.images))
    sizes = list(pool.map(load, cameras)) if pool else [load(camera) for camera in cameras]
    intrinsics = np.stack(
        [
            augmentation.intrinsics(np.asarray(k, dtype=np.float64), size)
            for k, size in zip(frame.intrinsics, sizes, strict=True)
        ]
    )
    l2g = np.asarray(frame.ego2global) @ np.asarray(frame.lidar2ego)
    return FrameArrays(
        img=out,
        img_shape=(height, width),
        lidar2img=geometry.lidar2img_matrix(intrinsics, lidar2cam_matrices(frame)),
        l2g=l2g.astype(np.float32),
        timestamp=float(frame.timestamp),
    )


def prepared_frames(
    frames: Iterable[Frame],
    augmentation: ImageAugmentation,
    size_divisor: int = 32,
    resizer: Resizer = "torch",
    threads: int = 6,
    ahead: int = 2,
    pin: bool = False,
    mean: Sequence[float] = PIXEL_MEAN,
) -> Iterator[tuple[Frame, FrameArrays]]:
    """Frames with their arrays, decoded ``ahead`` of the consumer by ``threads`` threads.

    Args:
        others: as for :func:`prepare_frame`.
    """
    with ThreadPoolExecutor(threads) as cameras, ThreadPoolExecutor(max(ahead, 1)) as runner:
        pending = []
        try:
            for frame in frames:
                job = runner.submit(
                    partial(prepare_frame, pool=cameras, pin=pin, mean=mean),
                    frame,
                    augmentation,
                    size_divisor,
                    resizer,
                )
                pending.append((frame, job))
                if len(pending) > ahead:
                    first, done = pending.pop(0)
                    yield first, done.result()
            while pending:
                first, done = pending.pop(0)
                yield first, done.result()
        finally:
            for _, job in pending:
                job.cancel()
