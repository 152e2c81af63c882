"""Pictures of examples, cropped from frames, as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from mestad_d2.evaluation.report.examples import Example

# (video, timestamp in s) -> frame (H, W, 3) uint8 RGB, or None where it is unavailable.
Frames = Callable[[str, float], np.ndarray | None]
_HEIGHT, _MAX_WIDTH = 200, 320
_OWN, _OTHER = "#ff7a1a", "#27c4f5"


def picture(frames: Frames, example: Example) -> str | None:
    """Return a JPEG data URL around the boxes of an example; None where the frame is missing."""
    frame = frames(example.video, example.timestamp)
    return None if frame is None else draw(frame, example)


def draw(frame: np.ndarray, example: Example) -> str:
    """Crop and draw the boxes: the example's solid, the closest ground truth thin."""
    height, width = frame.shape[:2]
    image = Image.fromarray(frame)
    boxes = [(example.box, _OWN, 3)] + ([(example.other, _OTHER, 2)] if example.other else [])
    corners = np.clip([b for b, _, _ in boxes], 0, 1) * [width, height, width, height]
    x1, y1 = corners[:, :2].min(0)
    x2, y2 = corners[:, 2:].max(0)
    margin = 0.35 * max(x2 - x1, y2 - y1, 0.1 * width)
    window = [max(0, x1 - margin), max(0, y1 - margin), min(width, x2 + margin), min(height, y2 + margin)]
    left, top, right, bottom = (int(v) for v in window)
    cut = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    scale = min(_HEIGHT / cut.height, _MAX_WIDTH / cut.width)
    cut = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))))
    pen = ImageDraw.Draw(cut)
    for box, (_, colour, line) in zip(corners, boxes, strict=True):
        a, b, c, d = ((box - [left, top, left, top]) * scale).tolist()
        pen.rectangle((min(a, c), min(b, d), max(a, c), max(b, d)), outline=colour, width=line)
    buffer = io.BytesIO()
    cut.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
