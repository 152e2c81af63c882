"""Pictures of examples, cut out of video files, as data URLs."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from .examples import Example

logger = logging.getLogger(__name__)
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")
_HEIGHT, _MAX_WIDTH = 200, 320
_OWN, _OTHER = "#ff7a1a", "#27c4f5"


class VideoFolder:
    """Frames of the videos in a folder, found by the name of the video with or without suffix.

    Args:
        folder: where the files are.
        start: timestamp of the first frame of a file, in seconds.
    """

    def __init__(self, folder: str | Path, start: float = 0.0) -> None:
        self._folder, self._start = Path(folder), start

    def picture(self, example: Example) -> str | None:
        """JPEG data URL around the boxes of an example; None where the frame can't be had."""
        path = self._find(example.video)
        if path is None:
            return None
        try:
            frame = read_frame(path, example.timestamp - self._start)
        except (OSError, ValueError, av.FFmpegError) as error:
            logger.warning("%s at %g s: no picture (%s)", path.name, example.timestamp, error)
            return None
        return None if frame is None else draw(frame, example)

    def _find(self, video: str) -> Path | None:
        # The name comes from a csv: only its last part may choose a file of the folder.
        name = Path(video).name
        candidates = [name, *(name + s for s in SUFFIXES), *(Path(name).stem + s for s in SUFFIXES)]
        return next((self._folder / c for c in candidates if c and (self._folder / c).is_file()), None)


def read_frame(path: Path, time: float) -> np.ndarray | None:
    """Frame (H, W, 3) uint8 RGB shown at ``time`` seconds from the first; None outside the video."""
    if time < 0:
        return None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        first = stream.start_time or 0
        container.seek(first + int(time / stream.time_base), stream=stream)
        half = 0.5 / float(stream.average_rate or 25)
        for frame in container.decode(stream):
            if frame.pts is not None and float((frame.pts - first) * stream.time_base) >= time - half:
                return frame.to_ndarray(format="rgb24")
    return None


def draw(frame: np.ndarray, example: Example) -> str:
    """Cut out and mark the boxes: own one solid, the ground truth that is meant thin."""
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
