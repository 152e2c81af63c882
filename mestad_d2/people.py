"""The people of one moment, as detected (``People``) or as annotated (``Person``)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from detectron2.structures import Instances

Box = tuple[float, float, float, float]
# Fields with one row a person.
ROWS = ("boxes", "scores", "actions", "track_ids")


@dataclass(frozen=True, eq=False)
class People:
    """Describe the detected people of one moment of a video, one row a person.

    What a stage does not know yet is None: a person detector gives no ``actions``, a detector no ``track_ids``.

    Attributes:
        timestamp: in s; since the first frame of a video, or as in the csv for frames of a dataset.
        boxes: (N, 4), x1, y1, x2, y2 in pixels of a frame of ``height`` and ``width``; files that know no size
            hold shares of the frame, which are pixels of a frame of height and width 1.
        scores: (N,) person scores.
        actions: (N, A) action scores; column = action id - 1.
        track_ids: (N,) int64, the same for one actor over time.
        video_id: where people of several videos are collected.
    """

    timestamp: float
    boxes: np.ndarray
    scores: np.ndarray | None = None
    actions: np.ndarray | None = None
    track_ids: np.ndarray | None = None
    height: int = 1
    width: int = 1
    video_id: str | None = None

    @classmethod
    def from_instances(cls, found: Instances, timestamp: float, video_id: str | None = None) -> People:
        """Take detections (``pred_boxes``, ``scores``, ``pred_actions``) in pixels of their ``image_size``."""
        return cls(
            float(timestamp),
            found.pred_boxes.tensor.detach().float().cpu().numpy(),
            found.scores.detach().float().cpu().numpy(),
            found.pred_actions.detach().float().cpu().numpy(),
            None,
            *found.image_size,
            video_id,
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, which: np.ndarray | slice) -> People:
        """Select people by index, mask or slice."""
        rows = {name: getattr(self, name) for name in ROWS}
        return replace(self, **{name: v[which] for name, v in rows.items() if v is not None})

    def fractions(self) -> np.ndarray:
        """Return the boxes (N, 4) float64 as shares of the frame's width and height."""
        return self.boxes.astype(np.float64) / [self.width, self.height, self.width, self.height]

    def resized(self, height: int, width: int) -> People:
        """Return the same people on a frame of another size, boxes in float32."""
        boxes = self.fractions() * [width, height, width, height]
        return replace(self, boxes=boxes.astype(np.float32), height=height, width=width)


@dataclass(frozen=True)
class Person:
    """Describe an annotated person: ``box`` in [0, 1], ``actions`` (label-map ids), ``person_id`` (-1: not given)."""

    box: Box
    actions: frozenset[int]
    person_id: int = -1
