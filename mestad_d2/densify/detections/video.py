"""A video with its key frames and the teacher's detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mestad_d2.densify.detections.frames import nearest_index
from mestad_d2.densify.key_frames import KeyFrame
from mestad_d2.people import People


@dataclass(frozen=True)
class DetectedVideo:
    """Attributes:

    path: file or folder; start: timestamp of its first frame, in s; height, width: in pixels as shown.
    times: (F,) of all frames in s since the first; keys: key frames in order of time.
    people: the teacher's by frame number, on those frames that get labels and on key frames.
    """

    video_id: str
    path: str
    start: float
    height: int
    width: int
    times: np.ndarray
    keys: list[KeyFrame]
    people: dict[int, People]

    def between(self, left: KeyFrame, right: KeyFrame, ends: bool = False) -> list[int]:
        """Return detections strictly between two moments; with ``ends``, also those of the key frames."""
        low, high = (nearest_index(self.times, key.time - self.start) for key in (left, right))
        return [f for f in sorted(self.people) if low < f < high or (ends and f in (low, high))]
