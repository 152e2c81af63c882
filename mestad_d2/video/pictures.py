"""Decoded frames to RGB pictures as shown, shrunk on the way."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter


def shrunk_size(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """(height, width) with the shorter side cut to ``short_side`` pixels; never larger than before."""
    if short_side is None or min(height, width) <= short_side:
        return height, width
    scale = short_side / min(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def shrink(image: np.ndarray, short_side: int | None) -> np.ndarray:
    """Resize (H, W, 3) uint8 whose shorter side is longer than ``short_side`` pixels; never enlarge."""
    height, width = shrunk_size(*image.shape[:2], short_side)
    if (height, width) == image.shape[:2]:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def upright(image: np.ndarray, rotation: float) -> np.ndarray:
    """Turn a decoded picture counter-clockwise by ``rotation`` degrees, as the file asks to be shown."""
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _one_thread() -> dict[str, int]:
    """The argument that keeps PyAV from starting threads for a small picture; older versions never do."""
    try:
        VideoReformatter().reformat(av.VideoFrame(2, 2, "yuv420p"), format="rgb24", threads=1)
    except TypeError:
        return {}
    return {"threads": 1}


ONE_THREAD = _one_thread()


class PictureMaker:
    """Turns the decoded frames of one video into pictures.

    Keeps the scaler between frames: a new one for each, with threads, costs 200 times the conversion
    of a small frame.
    """

    def __init__(self) -> None:
        self._scaler = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: av.VideoFrame, short_side: int | None = None) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright; its shorter side at most ``short_side`` pixels."""
        height, width = shrunk_size(*self._coded_size(frame), short_side)
        picture = self._scaler.reformat(
            frame, width=width, height=height, format="rgb24", interpolation="AREA", **ONE_THREAD
        )
        return upright(picture.to_ndarray(), frame.rotation)

    def shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Height and width of the upright picture in full size, without making it."""
        height, width = self._coded_size(frame)
        return (width, height) if round(frame.rotation / 90) % 2 else (height, width)

    def _coded_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        # Where the size changes on the way (some recordings), the first frame's holds.
        self._size = self._size or (frame.height, frame.width)
        return self._size
