"""Milliseconds of one core per training clip: 18 JPEGs of 1600x900, decoded, resized, cropped.

Reference chain, as the original runs it in one process: ``mmcv.imread``, Pillow resize and crop,
``mmcv.imnormalize`` (float32), padding. Ours: the dataset's path to a padded uint8 batch; the
normalisation happens on the device and is timed apart. Both single-threaded, CPU time.

    python tools/bench.py loader [--clips 3] [--images FOLDER]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from laboratory.measuring.record import Row
from pftrack.arguments import Parser

FRAMES, CAMERAS = 3, 6
SETTINGS = {
    "800x320 test": ((320, 800), (0.47, 0.625), None),
    "800x320 train": ((320, 800), (0.47, 0.625), 0),
    "1600x640 test": ((640, 1600), (0.94, 1.25), None),
    "1600x640 train": ((640, 1600), (0.94, 1.25), 0),
}
MEAN, STD = np.array([103.530, 116.280, 123.675]), np.array([57.375, 57.120, 58.395])


def write_pictures(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """JPEGs of 1600x900 with the detail and file size (about 170 kB) of nuScenes images."""
    import cv2

    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        image = np.full((900, 1600, 3), 120, dtype=np.float32)
        for cells, contrast in ((8, 30), (32, 20), (128, 8), (400, 3.5)):
            noise = rng.normal(0, contrast, (cells * 9 // 16 + 2, cells, 3)).astype(np.float32)
            image += cv2.resize(noise, (1600, 900), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image, 0, 255).astype(np.uint8)
        for x, y, w, h in rng.integers((0, 0, 20, 20), (1500, 850, 200, 200), (60, 4)).tolist():
            colour = rng.integers(0, 256, 3).tolist()
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
        paths.append(folder / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py loader``."""
    parser = Parser(prog="bench.py loader", description=__doc__)
    parser.add_argument("--clips", type=int, default=5, help="repetitions; the median counts")
    parser.add_argument("--images", type=Path, help="folder of 1600x900 JPEGs (default: drawn)")
    args = parser.parse_args(argv)
    import cv2
    import torch

    from pftrack.memory import use_huge_pages

    use_huge_pages()  # as training does
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    count = FRAMES * CAMERAS
    with tempfile.TemporaryDirectory() as temporary:
        found = sorted(args.images.glob("*.jpg")) if args.images else []
        paths = (found or write_pictures(Path(temporary), count))[:count]
        paths = [paths[i % len(paths)] for i in range(count)]
        size = sum(path.stat().st_size for path in paths) / count / 1e3
        print(f"{count} JPEGs a clip, {size:.0f} kB each; CPU ms per clip, one thread")
        heads = ("setting", "reference", "ours", "ratio", "exact", "ratio", "normalise", "max diff")
        print("{:<16}{:>10}{:>8}{:>7}{:>8}{:>7}{:>11}{:>10}  differing".format(*heads), flush=True)
        rows = []
        for name in SETTINGS:
            rows.append(_row(name, paths, args.clips))
            print(_line(rows[-1]), flush=True)
    return rows


def _row(name: str, paths: list[Path], repetitions: int) -> Row:
    from pftrack.datasets.augmentation import draw_augmentation
    from pftrack.datasets.image_config import AugmentationConfig

    final, limits, seed = SETTINGS[name]
    conf = AugmentationConfig(final_dim=final, resize_lim=limits)
    random = None if seed is None else np.random.RandomState(seed)
    augmentation = draw_augmentation(conf, random)

    def reference() -> np.ndarray:
        return reference_clip(paths, augmentation.resize_dims, augmentation.crop)

    torch_ms = _cpu_ms(lambda: our_clip(paths, augmentation, "torch"), repetitions)
    exact_ms = _cpu_ms(lambda: our_clip(paths, augmentation, "pillow"), repetitions)
    reference_ms = _cpu_ms(reference, repetitions)
    batch = our_clip(paths, augmentation, "torch")
    normalise_ms = _cpu_ms(batch.normalized, repetitions)
    exact = our_clip(paths, augmentation, "pillow")
    expected = reference().reshape(FRAMES, CAMERAS, *final, 3)
    ours = exact.normalized().img[0].permute(0, 1, 3, 4, 2)[:, :, : final[0], : final[1]].numpy()
    if np.abs(ours - expected).max() > 1e-6:
        raise RuntimeError("the exact path does not equal the reference chain")
    difference = (batch.img.int() - exact.img.int()).abs()
    numbers = {
        "reference CPU ms": reference_ms,
        "ours CPU ms": torch_ms,
        "exact CPU ms": exact_ms,
        "normalise CPU ms": normalise_ms,
        "largest difference": float(difference.max()),
        "differing": float((difference > 0).float().mean()),
    }
    return Row(name, numbers)


def _line(row: Row) -> str:
    reference, ours, exact, normalise, largest, differing = row.numbers.values()
    return (
        f"{row.what:<16}{reference:>10.0f}{ours:>8.0f}{reference / ours:>6.1f}x"
        f"{exact:>8.0f}{reference / exact:>6.1f}x{normalise:>11.0f}"
        f"{largest:>10.0f}  {differing:.1e}"
    )


def _cpu_ms(function: Callable[[], object], repetitions: int) -> float:
    function()
    times = []
    for _ in range(repetitions):
        begun = time.process_time()
        function()
        times.append(time.process_time() - begun)
    return float(np.median(times)) * 1e3


def reference_clip(
    paths: list[Path], resize_dims: tuple[int, int], crop: tuple[int, int, int, int]
) -> np.ndarray:
    """[18, h, w, 3] float32 by the plain chain."""
    import mmcv
    from PIL import Image

    images = []
    for path in paths:
        image = Image.fromarray(mmcv.imread(str(path))).resize(resize_dims).crop(crop)
        pixels = np.array(image).astype(np.float32)
        pixels = mmcv.imnormalize(pixels, MEAN, STD, to_rgb=False)
        images.append(mmcv.impad_to_multiple(pixels, 32))
    return np.stack(images)


def our_clip(paths: list[Path], augmentation: Any, resizer: Any) -> Any:
    """The same clip as the dataset makes it: a ClipBatch of padded uint8 images."""
    import torch

    from pftrack.datasets.collate import ClipSample, collate_clips
    from pftrack.datasets.frames import padded_size, prepare_frame
    from pftrack.nuscenes.facts import KEY_FRAME_SECONDS
    from pftrack.structures import ClipBatch, Frame

    poses = np.broadcast_to(np.eye(4), (CAMERAS, 4, 4))
    intrinsics = np.broadcast_to(np.diag([1266.4, 1266.4, 1.0]), (CAMERAS, 3, 3))
    img = torch.zeros((FRAMES, CAMERAS, *padded_size(augmentation.size, 32), 3), dtype=torch.uint8)
    arrays = []
    for t in range(FRAMES):
        images = paths[t * CAMERAS : (t + 1) * CAMERAS]
        frame = Frame(images, intrinsics, poses, poses, np.eye(4), np.eye(4), KEY_FRAME_SECONDS * t)
        arrays.append(prepare_frame(frame, augmentation, 32, resizer, img[t]))
    sample = ClipSample(
        img=img,
        img_shape=augmentation.size,
        lidar2img=np.stack([a.lidar2img for a in arrays]),
        l2g=np.stack([a.l2g for a in arrays]),
        timestamp=np.array([a.timestamp for a in arrays]),
        sample_tokens=[""] * FRAMES,
        scene_id="",
        mean=ClipBatch.mean,
        std=ClipBatch.std,
    )
    return collate_clips([sample])
