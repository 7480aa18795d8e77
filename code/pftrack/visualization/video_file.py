"""Writing frames to mp4 (H.264), GIF or PNG files: complete, or not there at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pftrack.files import atomic, atomic_path

GIF_COLORS = 128


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """H.264 in mp4, playable while it downloads and by every browser.

    Args:
        frames: BGR uint8 [h, w, 3], all of one size.
    """
    import av

    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as file,
    ):
        stream: Any = None
        for picture in frames:
            height, width = (n // 2 * 2 for n in picture.shape[:2])  # 4:2:0 needs even sizes
            if stream is None:
                options = {"crf": "23", "preset": "veryfast"}
                stream = file.add_stream("libx264", rate=fps, options=options)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture[:height, :width]), format="bgr24"
            )
            for packet in stream.encode(frame):
                file.mux(packet)
        if stream is not None:
            for packet in stream.encode():
                file.mux(packet)


def write_gif(path: Path, frames: Iterable[np.ndarray], fps: int, width: int | None = None) -> None:
    """An endless GIF.

    Args:
        width: scale to this many pixels; None: as they come.
    """
    from PIL import Image

    pictures = []
    for picture in frames:
        if width is not None and width < picture.shape[1]:
            height = round(picture.shape[0] * width / picture.shape[1])
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        rgb = Image.fromarray(np.ascontiguousarray(picture[..., ::-1]))
        pictures.append(rgb.quantize(GIF_COLORS, dither=Image.Dither.NONE))
    if not pictures:
        return
    with atomic(path, "wb") as file:
        pictures[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=1000 // fps,
            loop=0,
        )


def write_png(path: Path, picture: np.ndarray) -> None:
    """One picture."""
    with atomic(path, "wb") as file:
        file.write(cv2.imencode(".png", picture)[1])
