"""Image augmentation: the original's pixels and draws, bounds of the fast path, geometry."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from laboratory.parity.data_checks import (
    check_augmentation,
    check_boxes_and_ego_motion,
    check_conversion,
)
from pftrack import geometry
from pftrack.datasets.augmentation import (
    ImageAugmentation,
    draw_augmentation,
)
from pftrack.datasets.image_config import AugmentationConfig
from pftrack.datasets.image_loading import read_image
from pftrack.errors import UserError

SMALL = AugmentationConfig(final_dim=(320, 800), resize_lim=(0.47, 0.625), rand_flip=True)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """1600x900 of smooth shapes, edges and noise."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (9, 16, 3)).astype(np.float32)
    image = cv2.resize(coarse, (1600, 900), interpolation=cv2.INTER_CUBIC)
    image[200:500, 300:900] = 255
    image[550:800, 1000:1500] += rng.normal(0, 60, (250, 500, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


# --- golden files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "check", "tolerance"),
    [
        ("e_nusc_s0", check_conversion, 1e-6),
        ("f_aug_s0", check_augmentation, 1e-6),
        ("g_unit_s0", check_boxes_and_ego_motion, 1e-6),
    ],
)
def test_golden(golden_dir: Path, name: str, check, tolerance: float) -> None:  # type: ignore[no-untyped-def]
    meta = json.loads((golden_dir / f"{name}.json").read_text())
    with np.load(golden_dir / f"{name}.npz") as arrays:
        rows = list(check(dict(arrays), meta))
    assert rows
    for array, ours, reference in rows:
        if isinstance(reference, list):
            assert ours == reference, array
        elif np.asarray(reference).dtype.kind in "iub":
            np.testing.assert_array_equal(ours, reference, err_msg=array)
        else:
            np.testing.assert_allclose(
                ours, reference, rtol=tolerance, atol=tolerance, err_msg=array
            )


# --- pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
@pytest.mark.parametrize("limits", [(0.47, 0.625), (0.94, 1.25)])
def test_fast_resize_is_within_two_grey_levels(
    picture: np.ndarray, seed: int | None, limits: tuple[float, float]
) -> None:
    final = (320, 800) if limits[0] < 0.5 else (640, 1600)
    conf = AugmentationConfig(final_dim=final, resize_lim=limits, rand_flip=True)
    random = None if seed is None else np.random.RandomState(seed)
    augmentation = draw_augmentation(conf, random)
    exact = augmentation(picture, "pillow").astype(int)
    difference = np.abs(augmentation(picture, "torch") - exact)
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.02
    if seed is None:  # factors of exactly 0.5 and 1
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-4


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(8, 90),
    st.integers(8, 120),
    st.integers(4, 120),
    st.integers(4, 120),
    st.integers(-20, 60),
    st.integers(-20, 60),
    st.integers(0, 2**31),
)
def test_fast_resize_of_any_geometry(
    height: int, width: int, new_h: int, new_w: int, top: int, left: int, seed: int
) -> None:
    assume((new_w <= width) == (new_h <= height))  # an image is not squeezed one way only
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    crop = (left, top, left + 40, top + 30)
    augmentation = ImageAugmentation(1.0, (new_w, new_h), crop)
    fast, exact = augmentation(image, "torch"), augmentation(image, "pillow")
    assert fast.shape == exact.shape == (30, 40, 3)
    assert np.abs(fast.astype(int) - exact).max() <= 3


def test_narrow_image_is_black_on_the_right() -> None:
    image = np.full((900, 1600, 3), 200, np.uint8)
    augmentation = ImageAugmentation(0.47, (752, 423), (0, 103, 800, 423))
    for resizer in ("torch", "pillow"):
        result = augmentation(image, resizer)  # type: ignore[arg-type]
        assert result.shape == (320, 800, 3)
        assert (result[:, :752] == 200).all() and (result[:, 752:] == 0).all()


# --- geometry -------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.booleans())
def test_pixels_and_matrix_move_together(seed: int, rotate: bool) -> None:
    """A bright spot lands where the matrix says, to the half pixel that it ignores."""
    conf = AugmentationConfig(
        final_dim=(80, 200),
        H=225,
        W=400,
        resize_lim=(0.5, 0.9),
        rot_lim=(-8.0, 8.0) if rotate else (0.0, 0.0),
        rand_flip=True,
    )
    random = np.random.RandomState(seed)
    augmentation = draw_augmentation(conf, random)
    x, y = random.uniform(20, 380), random.uniform(80, 200)
    columns, rows = np.meshgrid(np.arange(400), np.arange(225))
    spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
    image = np.repeat(spot[..., None], 3, -1).astype(np.uint8)
    u, v, _ = augmentation.matrix() @ [x, y, 1]
    result = augmentation(image, "pillow")[..., 0].astype(float)
    if not (10 < u < 190 and 10 < v < 70):
        return
    result[result < 30] = 0  # noise floor of the filter
    columns, rows = np.meshgrid(np.arange(200), np.arange(80))
    total = result.sum()
    assert abs((columns * result).sum() / total - u) < 1.2
    assert abs((rows * result).sum() / total - v) < 1.2


def test_projection_follows_the_augmentation() -> None:
    """Flip, crop and resize in the intrinsics = the same applied to projected pixels."""
    intrinsics = np.array([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]])
    lidar2cam = np.eye(4)
    points = np.array([[1.0, 0.5, 10.0], [-3.0, 1.0, 20.0]])
    augmentation = ImageAugmentation(0.5, (800, 450), (10, 130, 810, 450), flip=True)
    before, _ = geometry.project(points, geometry.lidar2img_matrix(intrinsics, lidar2cam))
    new = augmentation.intrinsics(intrinsics, (900, 1600))
    after, _ = geometry.project(points, geometry.lidar2img_matrix(new, lidar2cam))
    expected = np.stack([800 - (before[:, 0] * 0.5 - 10), before[:, 1] * 0.5 - 130], 1)
    np.testing.assert_allclose(after, expected, atol=1e-4)
    # An image of half the size with half the intrinsics is the same camera.
    half = np.diag([0.5, 0.5, 1]) @ intrinsics
    np.testing.assert_allclose(augmentation.intrinsics(half, (450, 800)), new, atol=1e-9)


def test_testing_augmentation_is_fixed_and_draws_are_seeded() -> None:
    fixed = draw_augmentation(SMALL, None)
    assert fixed == ImageAugmentation(0.5, (800, 450), (0, 130, 800, 450))
    draws = [draw_augmentation(SMALL, np.random.RandomState([0, 0, i])) for i in range(40)]
    assert draws[3] == draw_augmentation(SMALL, np.random.RandomState([0, 0, 3]))
    assert {d.flip for d in draws} == {True, False}
    assert all(0.47 <= d.resize <= 0.625 and d.size == (320, 800) for d in draws)


def test_configuration_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="unknown setting 'final_dims'"):
        AugmentationConfig.from_dict({"final_dims": (320, 800)})
    with pytest.raises(UserError, match="'final_dim' is missing"):
        AugmentationConfig.from_dict({"H": 900})


# --- reading images -------------------------------------------------------------------------------


@pytest.fixture
def jpeg(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "image.jpg"
    assert cv2.imwrite(str(path), picture)
    return path


def test_jpeg_pixels_are_those_of_mmcv(jpeg: Path) -> None:
    np.testing.assert_array_equal(read_image(jpeg), cv2.imread(str(jpeg)))


def test_other_formats_and_arrays(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), picture)
    np.testing.assert_array_equal(read_image(str(path)), picture)
    assert read_image(picture) is picture


@pytest.mark.parametrize("keep", [0, 1, 2, 400, 0.5, -2])
def test_truncated_image_is_named(jpeg: Path, keep: float) -> None:
    data = jpeg.read_bytes()
    jpeg.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match=r"image\.jpg is truncated or damaged"):
        read_image(jpeg)


def test_missing_image_and_wrong_array(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no image .*nothing\.jpg"):
        read_image(tmp_path / "nothing.jpg")
    with pytest.raises(UserError, match="BGR uint8"):
        read_image(np.zeros((4, 4, 3), np.float32))
