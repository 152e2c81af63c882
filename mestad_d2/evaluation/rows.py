"""Boxes with actions as flat arrays, the input of the evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mestad_d2.evaluation.frame_map.protocols import Protocol


@dataclass
class Rows:
    """Rows of a ground-truth or detection file.

    Attributes:
        keys: names of frames, each once; a frame may have no row.
        frame: (n,) int64, index into ``keys``.
        boxes: (n, 4) float64, x1 y1 x2 y2 as fractions of width and height.
        actions: (n,) int64, action ids.
        scores: (n,) float64; ground truth carries the eighth column or 1.
        lines: (n,) int64, line in the file, 0 where there is no file.
        source: name for messages.
    """

    keys: list[str]
    frame: np.ndarray
    boxes: np.ndarray
    actions: np.ndarray
    scores: np.ndarray
    lines: np.ndarray
    source: str = "memory"

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, index: np.ndarray) -> Rows:
        """Select rows by index or mask; the frame names stay."""
        return Rows(
            self.keys,
            self.frame[index],
            self.boxes[index],
            self.actions[index],
            self.scores[index],
            self.lines[index],
            self.source,
        )


def frame_key(video: str, timestamp: float, protocol: Protocol) -> str:
    """Return a protocol's name of a frame."""
    return f"{video},{timestamp:.6f}" if protocol.fractional else f"{video},{int(timestamp):04d}"


def make_rows(
    keys: Sequence[str],
    boxes: np.ndarray,
    actions: np.ndarray,
    scores: np.ndarray | None = None,
    source: str = "memory",
) -> Rows:
    """Make rows from one frame name per row, boxes (n, 4), actions (n,) and scores (n,)."""
    index: dict[str, int] = {}
    frame = np.array([index.setdefault(k, len(index)) for k in keys], dtype=np.int64)
    n = len(frame)
    return Rows(
        list(index),
        frame,
        np.asarray(boxes, dtype=np.float64).reshape(n, 4),
        np.asarray(actions, dtype=np.int64).reshape(n),
        np.ones(n) if scores is None else np.asarray(scores, dtype=np.float64).reshape(n),
        np.zeros(n, dtype=np.int64),
        source,
    )
