"""Decoded frames to RGB pictures as shown, shrunk on the way."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from mestad_d2.errors import UserError
from mestad_d2.video.decode.colors import BT2020, hdr_kind, tone_mapped
from mestad_d2.video.decode.container import MAX_PIXELS


def shrunk_size(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """Return (height, width) with the shorter side cut to ``short_side`` pixels; never larger than before."""
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


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Return how to show a frame: a, b, c, d of (x, y) -> (a x + c y, b x + d y), each -1, 0 or 1.

    PyAV's ``frame.rotation`` reports rotations only: it takes a mirror image for a rotation by 180 degrees.
    """
    data = frame.side_data.get("DISPLAYMATRIX") if frame.side_data else None
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1), 0, 0, (-1 if d < 0 else 1)
    return 0, (-1 if b < 0 else 1), (-1 if c < 0 else 1), 0


def shown(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn and mirror a stored picture (H, W, 3) by its ``display_matrix``."""
    a, b, c, d = matrix
    if not a:
        image = image.swapaxes(0, 1)
    if a < 0 or c < 0:
        image = image[:, ::-1]
    if d < 0 or b < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def square_size(height: int, width: int, aspect: float) -> tuple[int, int]:
    """Return (height, width) of a picture in square pixels, where each pixel is ``aspect`` times as wide as high.

    The side that is too short grows, so that nothing is lost.
    """
    return (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)


def pixel_aspect(stream: av.VideoStream) -> float:
    """Return the pixel aspect ratio (width / height) of a stream; 1 where it is absent or invalid."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 0.1 <= aspect <= 10 else 1.0


def _one_thread() -> dict[str, int]:
    """Argument that stops PyAV from starting threads for a small picture; older versions never start any."""
    try:
        VideoReformatter().reformat(av.VideoFrame(2, 2, "yuv420p"), format="rgb24", threads=1)
    except TypeError:
        return {}
    return {"threads": 1}


ONE_THREAD = _one_thread()


class PictureMaker:
    """Turns the decoded frames of one video into pictures: upright, in square pixels, SDR.

    Keeps the scaler between frames: a new one for each, with threads, costs 200 times the conversion
    of a small frame.

    Args:
        name: of the file, for errors.
        aspect: of ``pixel_aspect``.
        max_pixels: larger pictures are refused, also where the size grows within a stream.
    """

    def __init__(self, name: str = "", aspect: float = 1.0, max_pixels: int = MAX_PIXELS) -> None:
        self._scaler = VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._name, self._aspect, self._max_pixels = name, aspect, max_pixels

    def __call__(self, frame: av.VideoFrame, short_side: int | None = None) -> np.ndarray:
        """Make the picture (H, W, 3) uint8 RGB; its shorter side is at most ``short_side`` pixels.

        Raises:
            UserError: the picture is too large.
        """
        height, width = shrunk_size(*self._stored_size(frame), short_side)
        hdr = hdr_kind(frame)
        picture = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgb48le" if hdr else "rgb24",
            interpolation="AREA",
            **ONE_THREAD,
        )
        image = picture.to_ndarray()
        if hdr:
            image = tone_mapped(image, hdr, wide=frame.color_primaries == BT2020)
        return shown(image, display_matrix(frame))

    def shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Return height and width of the full-size picture without making it.

        Raises:
            UserError: the picture is too large.
        """
        height, width = self._stored_size(frame)
        return (height, width) if display_matrix(frame)[0] else (width, height)

    def check_size(self, frame: av.VideoFrame) -> None:
        """Make sure that a frame, of which no picture is made, is not too large.

        Raises:
            UserError: it is.
        """
        if frame.width * frame.height > self._max_pixels:
            self._stored_size(frame)

    def _stored_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        height, width = square_size(frame.height, frame.width, self._aspect)
        if height * width > self._max_pixels:
            raise UserError(
                f"{self._name}: {width} x {height} pixels are too many; give at most "
                f"{self._max_pixels / 1e6:.1f} megapixels"
            )
        # Where the size changes on the way (some recordings), the first frame's holds.
        self._size = self._size or (height, width)
        return self._size
