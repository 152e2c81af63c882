"""Clip transforms that keep boxes right: one geometry for all frames and boxes, one colour draw a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class ClipGeometry:
    """Scale, crop and flip of a clip.

    Attributes:
        source: height and width before; scaled: after scaling; in pixels.
        crop: x, y, width, height inside the scaled frame.
        flip: mirror left and right at the end.
        resize: "area" or "bilinear", see ``GeometrySampler``.
    """

    source: tuple[int, int]
    scaled: tuple[int, int]
    crop: tuple[int, int, int, int]
    flip: bool = False
    resize: str = "area"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.crop[3], self.crop[2]

    def clip(self, frames: np.ndarray) -> np.ndarray:
        """Transform frames (T, H, W, 3) uint8, of any size with the source's proportions."""
        x, y, width, height = self.crop
        if self.resize == "bilinear":
            # Resized whole and cut afterwards, so that each pixel is the peers'.
            frames = np.stack([bilinear(frame, self.scaled) for frame in frames])
        sy, sx = frames.shape[1] / self.scaled[0], frames.shape[2] / self.scaled[1]
        if frames.shape[1:3] != self.scaled:
            # The part that is kept is cut out before it is resized: less to resize.
            x0, x1 = x * sx, (x + width) * sx
            y0, y1 = y * sy, (y + height) * sy
            matrix = np.array([[width / (x1 - x0), 0, 0], [0, height / (y1 - y0), 0]])
            # Pixel centres lie at +0.5, which warpAffine's corners do not know.
            matrix[:, 2] = [
                -x0 * matrix[0, 0] + 0.5 * matrix[0, 0] - 0.5,
                -y0 * matrix[1, 1] + 0.5 * matrix[1, 1] - 0.5,
            ]
            frames = np.stack(
                [
                    cv2.warpAffine(
                        f, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                    )
                    for f in frames
                ]
            )
        else:
            frames = frames[:, y : y + height, x : x + width]
        return np.ascontiguousarray(frames[:, :, ::-1] if self.flip else frames)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Transform boxes (N, 4) in source pixels and cut them to the result."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).copy()
        boxes[:, 0::2] = boxes[:, 0::2] * (self.scaled[1] / self.source[1]) - self.crop[0]
        boxes[:, 1::2] = boxes[:, 1::2] * (self.scaled[0] / self.source[0]) - self.crop[1]
        height, width = self.size
        if self.flip:
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        return boxes

    def full_areas(self, boxes: np.ndarray) -> np.ndarray:
        """Return the areas (N,) in pixels of the result of boxes (N, 4) in source pixels, before cutting."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        scale = self.scaled[0] / self.source[0] * self.scaled[1] / self.source[1]
        return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * scale


def bilinear(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, C) uint8 to ``size`` (height, width) from the four nearest pixels, without averaging (cv2)."""
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class GeometrySampler:
    """Draws a geometry: short side, zoom, crop, flip.

    Attributes:
        short_sides: choices, or with ``range`` the two ends, of the shorter side in pixels.
        max_size: longest side allowed, in pixels.
        scale_range: factors of a further zoom.
        crop: height and width of a random crop (cut to the frame); None: no crop.
        flip: probability of a mirror image.
    """

    short_sides: Sequence[int]
    sampling: str = "choice"
    max_size: int = 10**9
    scale_range: tuple[float, float] = (1.0, 1.0)
    crop: tuple[int, int] | None = None
    flip: float = 0.0
    resize: str = "area"

    def reading_side(self) -> int | None:
        """Return the short side to which frames may be shrunk while they are read; None: they are needed whole."""
        if self.resize == "bilinear":
            return None
        # A little larger than any geometry needs; the geometry resizes them.
        return round(max(self.short_sides) * max(self.scale_range[1], 1.0))

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> ClipGeometry:
        """Draw a geometry for frames of ``size`` (height, width)."""
        if self.sampling == "range":
            short = int(rng.integers(self.short_sides[0], self.short_sides[-1] + 1))
        else:
            short = int(rng.choice(list(self.short_sides)))
        low, high = self.scale_range
        scale = short / min(size) * (rng.uniform(low, high) if high > low else low)
        scale = min(scale, self.max_size / max(size))
        scaled = (max(round(size[0] * scale), 1), max(round(size[1] * scale), 1))
        height, width = (
            scaled if self.crop is None else (min(self.crop[0], scaled[0]), min(self.crop[1], scaled[1]))
        )
        y = int(rng.integers(0, scaled[0] - height + 1))
        x = int(rng.integers(0, scaled[1] - width + 1))
        crop, flip = (x, y, width, height), bool(rng.random() < self.flip)
        return ClipGeometry(tuple(size), scaled, crop, flip, self.resize)


def color_jitter(frames: np.ndarray, strengths: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Jitter brightness, contrast, saturation (factors 1 +- s) and hue (+- s turns), one draw for all frames.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        strengths: the four strengths; 0 leaves that property alone.
    """
    brightness, contrast, saturation, hue = (rng.uniform(-s, s) if s > 0 else 0.0 for s in strengths)
    # The frames as one tall picture: one call an operation instead of one a frame.
    picture = frames.reshape(-1, frames.shape[2], 3)
    if brightness or contrast:
        mean = float(picture[::4, ::4].mean()) * (1 + brightness)
        levels = np.arange(256) * (1 + brightness)
        picture = cv2.LUT(picture, np.clip((levels - mean) * (1 + contrast) + mean, 0, 255).astype(np.uint8))
    if saturation:
        gray = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        picture = cv2.addWeighted(picture, 1 + saturation, gray, -saturation, 0)
    if hue:
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL)
        # uint8 arithmetic wraps around, as hue does.
        hsv[..., 0] += np.uint8(round(hue * 256) % 256)
        picture = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
    return picture.reshape(frames.shape)
