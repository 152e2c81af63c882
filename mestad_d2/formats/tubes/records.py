"""Tubes, frame detections and tubelets in memory: flat arrays, so that a dataset is one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class VideoInfo:
    """A video's length in frames and size in pixels, 0 where unknown."""

    name: str
    frames: int = 0
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class Tubes:
    """Tubes of a dataset, ground truth or detected.

    Attributes:
        videos: names; ``video`` points into it.
        video: (n,) int64.
        label: (n,) int64, class from 0.
        score: (n,) float64; 1 for ground truth.
        start: (n + 1,) int64; tube i has the rows ``start[i]:start[i + 1]`` of ``frame`` and ``boxes``.
        frame: (m,) integers from 1, increasing within a tube; gaps are allowed.
        boxes: (m, 4) x1, y1, x2, y2 in pixels; NaN where a linker left a hole.
        name: (n,) names of the tubes within their video and class.
    """

    videos: tuple[str, ...]
    video: np.ndarray
    label: np.ndarray
    score: np.ndarray
    start: np.ndarray
    frame: np.ndarray
    boxes: np.ndarray
    name: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.video)

    @property
    def length(self) -> np.ndarray:
        """Number of boxes of each tube (n,)."""
        return np.diff(self.start)

    @property
    def first(self) -> np.ndarray:
        """First frame of each tube (n,)."""
        return self.frame[self.start[:-1]]

    @property
    def last(self) -> np.ndarray:
        """Last frame of each tube (n,)."""
        return self.frame[self.start[1:] - 1]

    @property
    def owner(self) -> np.ndarray:
        """Tube of each row (m,)."""
        return np.repeat(np.arange(len(self)), self.length)

    def select(self, which: np.ndarray) -> Tubes:
        """Select tubes, in the order of the indices ``which``."""
        which = np.asarray(which, dtype=np.int64)
        rows = ranges(self.start[which], self.length[which])
        return replace(
            self,
            video=self.video[which],
            label=self.label[which],
            score=self.score[which],
            start=np.concatenate([[0], np.cumsum(self.length[which])]),
            frame=self.frame[rows],
            boxes=self.boxes[rows],
            name=tuple(self.name[i] for i in which.tolist()),
        )

    def without_holes(self) -> Tubes:
        """Remove rows whose box is NaN, and tubes that have no other row."""
        good = ~np.isnan(self.boxes).any(1)
        if good.all():
            return self
        length = np.bincount(self.owner[good], minlength=len(self))
        kept = replace(
            self,
            start=np.concatenate([[0], np.cumsum(length)]),
            frame=self.frame[good],
            boxes=self.boxes[good],
        )
        return kept.select(np.flatnonzero(length))

    def as_frames(self) -> FrameBoxes:
        """Return each row as a box of its frame, in the order of the tubes."""
        owner = self.owner
        return FrameBoxes(
            self.videos, self.video[owner], self.frame, self.label[owner], self.score[owner], self.boxes
        )


@dataclass(frozen=True)
class _BoxTable:
    """``videos`` by index; ``video, frame, label, score`` (n,) and ``boxes`` (n, ...) in pixels, one row each."""

    videos: tuple[str, ...]
    video: np.ndarray
    frame: np.ndarray
    label: np.ndarray
    score: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.video)


class FrameBoxes(_BoxTable):
    """Scored boxes of single frames: ``video, frame, label, score`` (n,) and ``boxes`` (n, 4) in pixels."""

    def select(self, which: np.ndarray) -> FrameBoxes:
        """Select rows by index or mask."""
        fields = ("video", "frame", "label", "score", "boxes")
        return replace(self, **{name: getattr(self, name)[which] for name in fields})


class Tubelets(_BoxTable):
    """Boxes of K successive frames each: ``frame`` (n,) is the first one, ``boxes`` are (n, K, 4)."""

    def as_frames(self) -> FrameBoxes:
        """Return each box at its frame with the tubelet's score, ordered by start and then by k."""
        count, k = self.boxes.shape[:2]
        order = np.lexsort((np.arange(count), self.label, self.frame, self.video))
        rows = np.repeat(order, k)
        frame = self.frame[rows] + np.tile(np.arange(k), count)
        boxes = self.boxes[order].reshape(-1, 4)
        return FrameBoxes(self.videos, self.video[rows], frame, self.label[rows], self.score[rows], boxes)


def as_tubelets(found: FrameBoxes) -> Tubelets:
    """Convert frame detections to tubelets of one frame."""
    return Tubelets(found.videos, found.video, found.frame, found.label, found.score, found.boxes[:, None, :])


def tubes_of(
    videos: Sequence[str],
    parts: Sequence[tuple[int, int, float, np.ndarray, np.ndarray]],
    names: Sequence[str] | None = None,
) -> Tubes:
    """Make tubes of parts ``(video index, class from 0, score, frames (k,), boxes (k, 4))``.

    Args:
        names: of the tubes; by default they are counted from 1 within a video and class.
    """
    if names is None:
        seen: dict[tuple[int, int], int] = {}
        names = []
        for video, label, *_ in parts:
            seen[video, label] = seen.get((video, label), 0) + 1
            names.append(str(seen[video, label]))
    lengths = [len(part[3]) for part in parts]
    return Tubes(
        tuple(videos),
        np.array([part[0] for part in parts], dtype=np.int64),
        np.array([part[1] for part in parts], dtype=np.int64),
        np.array([part[2] for part in parts], dtype=np.float64),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([np.asarray(p[3], dtype=np.int32) for p in parts] or [np.empty(0, np.int32)]),
        # As they are: published pickles hold float32, and a big dataset has millions of them.
        np.concatenate([np.asarray(p[4]).reshape(-1, 4) for p in parts] or [np.empty((0, 4))]),
        tuple(names),
    )


def ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return ``start[i], start[i] + 1, ...``, ``length[i]`` numbers each, concatenated."""
    length = np.asarray(length, dtype=np.int64)
    begin = np.cumsum(length) - length
    return np.arange(length.sum()) + np.repeat(np.asarray(start, dtype=np.int64) - begin, length)
