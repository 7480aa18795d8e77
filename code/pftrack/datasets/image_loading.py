"""Reading camera images: BGR uint8, or one clear line why not."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from pftrack.errors import UserError

MOST_PIXELS = 1 << 26  # of an image: nuScenes' have 1.4 million


def read_image(image: np.ndarray | str | Path) -> np.ndarray:
    """The image as BGR uint8 [h, w, 3].

    JPEG files are decoded by libjpeg-turbo (the same pixels as ``mmcv.imread``), other formats by
    OpenCV. Unlike those, a truncated JPEG is an error instead of a partly grey image.

    Args:
        image: a path, or an array that is checked and passed through.

    Raises:
        UserError: missing, empty, truncated or not an image; an array of another shape or type.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(
                f"images must be BGR uint8 arrays [h, w, 3], got {image.dtype} {image.shape}"
            )
        return image
    try:
        data = Path(image).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"no image {image}: check NUSCENES / data_root, or download the missing sensor files"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read image {image}: {error.strerror}") from None
    decoded = _decode(data)
    if decoded is None:
        raise UserError(
            f"image {image} is truncated or damaged ({len(data)} bytes): download it again"
        )
    return decoded


def _decode(data: bytes) -> np.ndarray | None:
    if not data.startswith(b"\xff\xd8"):
        return _decode_other(data)
    try:
        import simplejpeg
    except ImportError:  # a deployed tracker needs no more than Pillow
        return _decode_slowly(data)
    try:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
        if height * width > MOST_PIXELS:  # a few bytes can claim gigabytes
            return None
        return simplejpeg.decode_jpeg(data, colorspace="BGR")
    except ValueError:  # "premature end of JPEG file" and its like
        return None


def _decode_other(data: bytes) -> np.ndarray | None:
    """Any other format than JPEG, by OpenCV, when its size is what Pillow's header says."""
    import cv2
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as header:
            width, height = header.size
        if height * width > MOST_PIXELS:
            return None
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, cv2.error):
        return None


def _decode_slowly(data: bytes) -> np.ndarray | None:
    """The same pixels by Pillow, which is built on libjpeg-turbo as well."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    except (OSError, Image.DecompressionBombError):
        return None
