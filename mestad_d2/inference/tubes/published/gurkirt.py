"""The online tubes of realtime-action-detection: paths of one class, trimmed by a Viterbi over all classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mestad_d2.evaluation.tubes.overlap import box_iou
from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import Tubelets, Tubes, tubes_of

LEAST_SCORE, MOST_BOXES, NMS_IOU, KEPT_BOXES = 0.001, 50, 0.45, 10
LINK_IOU, MISSES, ORDER_BEST, PATH_BEST = 0.1, 3, 4, 20
ALPHA, LEAST_FRAMES, SCORE_BEST = 3.0, 10, 40


@dataclass
class _Path:
    """Found boxes of a path: frames, boxes (4,), scores and scores of all classes (C,)."""

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    classes: list[np.ndarray] = field(default_factory=list)
    misses: int = 0

    def add(self, frame: int, box: np.ndarray, score: float, classes: np.ndarray) -> None:
        self.frames.append(frame)
        self.boxes.append(box)
        self.scores.append(score)
        self.classes.append(classes)
        self.misses = 0


@dataclass(frozen=True)
class _Frame:
    """Different boxes (n, 4) of a frame and their scores (n, C)."""

    boxes: np.ndarray
    scores: np.ndarray


def link_gurkirt(found: Tubelets, dataset: TubeDataset, alpha: float = ALPHA) -> Tubes:
    """Link frame detections as realtime-action-detection does (gurkirt, 9dd8e1b; ICCV 2017).

    Rows of one frame with the same box are one box with several class scores.

    Args:
        alpha: penalty of each change of the class along a path.
    """
    classes = len(dataset.classes)
    parts = []
    for v, video in enumerate(dataset.videos):
        rows = np.flatnonzero(found.video == v)
        if not len(rows):
            continue
        # Boxes are cut to the picture, in pixels from 0.
        limit = np.array([video.width - 1, video.height - 1] * 2) if video.width else np.full(4, np.inf)
        frames = _frames(found, rows, limit, classes)
        last = video.frames or max(frames)
        for label in range(classes):
            for path in _link(frames, last, label):
                for first, boxes, score in _trim(path, label, alpha):
                    parts.append((v, label, score, np.arange(first, first + len(boxes)), boxes))
    return tubes_of(found.videos, parts)


def _frames(found: Tubelets, rows: np.ndarray, limit: np.ndarray, classes: int) -> dict[int, _Frame]:
    frames = {}
    at = found.frame[rows]
    by = np.argsort(at, kind="stable")
    for part in np.split(by, np.flatnonzero(np.diff(at[by])) + 1):
        boxes: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        index: dict[tuple[float, ...], int] = {}
        for row in rows[part].tolist():
            key = tuple(found.boxes[row, 0].tolist())
            label = found.label[row]
            i = index.get(key, -1)
            if i < 0 or not np.isnan(scores[i][label]):
                i = index[key] = len(boxes)
                boxes.append(found.boxes[row, 0])
                scores.append(np.full(classes, np.nan))
            scores[i][label] = found.score[row]
        cut = np.stack(boxes).astype(np.float64)
        cut[:, :2] = np.maximum(cut[:, :2], 0)
        cut[:, 2:] = np.minimum(cut[:, 2:], limit[2:])
        frames[int(at[part[0]])] = _Frame(cut, np.nan_to_num(np.stack(scores)))
    return frames


def _candidates(frame: _Frame, label: int) -> np.ndarray:
    """Boxes of a class that may be linked, best first."""
    score = frame.scores[:, label]
    rows = np.flatnonzero(score > LEAST_SCORE)
    rows = rows[np.argsort(-score[rows], kind="stable")][:MOST_BOXES]
    # Taken from the end of an ascending sort: among equal scores the later one.
    order = rows[np.argsort(score[rows], kind="stable")][::-1]
    kept: list[int] = []
    while len(order) and len(kept) < KEPT_BOXES:
        kept.append(int(order[0]))
        others = order[1:]
        best = np.broadcast_to(frame.boxes[order[0]], (len(others), 4))
        overlap = np.nan_to_num(box_iou(frame.boxes[others], best, "continuous"))
        order = others[overlap <= NMS_IOU]
    return np.array(kept, dtype=np.int64)


def _link(frames: dict[int, _Frame], last: int, label: int) -> list[_Path]:
    live: list[_Path] = []
    dead: list[_Path] = []
    for t in range(1, last + 1):
        frame = frames.get(t)
        rows = _candidates(frame, label) if frame else np.empty(0, dtype=np.int64)
        if not len(rows) and not live:
            continue
        taken = np.zeros(len(rows), dtype=bool)
        for path in live:
            choice = _choose(path, frame, rows, taken, label)
            if choice is None:
                path.misses += 1
                continue
            taken[choice] = True
            row = rows[choice]
            path.add(t, frame.boxes[row], float(frame.scores[row, label]), frame.scores[row])
        live.sort(key=lambda path: -float(np.mean(sorted(path.scores)[-ORDER_BEST:])))
        dead += [path for path in live if path.misses >= MISSES]
        live = [path for path in live if path.misses < MISSES]
        for row in rows[~taken].tolist():
            path = _Path()
            path.add(t, frame.boxes[row], float(frame.scores[row, label]), frame.scores[row])
            live.append(path)
    paths = [path for path in live + dead if len(path.frames) > MISSES]
    filled = [_fill(path) for path in paths]
    filled.sort(key=lambda path: -float(np.mean(sorted(path.scores)[-PATH_BEST:])))
    return filled


def _choose(path: _Path, frame: _Frame | None, rows: np.ndarray, taken: np.ndarray, label: int) -> int | None:
    """The box with the best score among the free ones that overlap the path's last box."""
    if not len(rows) or frame is None:
        return None
    iou = box_iou(frame.boxes[rows], np.broadcast_to(path.boxes[-1], (len(rows), 4)), "inclusive")
    scores = np.where((iou >= LINK_IOU) & ~taken, frame.scores[rows, label], 0.0)
    return int(scores.argmax()) if scores.max() > 0 else None


def _fill(path: _Path) -> _Path:
    """Missing frames get the next found box and scores."""
    whole = _Path()
    before = path.frames[0] - 1
    for frame, box, score, classes in zip(path.frames, path.boxes, path.scores, path.classes, strict=True):
        for missing in range(before + 1, frame + 1):
            whole.add(missing, box, score, classes)
        before = frame
    return whole


def _trim(path: _Path, label: int, alpha: float) -> list[tuple[int, np.ndarray, float]]:
    """First frame, boxes and score of each stretch in which the path's class is the best labelling."""
    labels = _best_labels(np.stack(path.classes), alpha)
    on = np.concatenate([[0], labels == label, [0]]).astype(np.int8)
    edges = np.diff(on)
    stretches = []
    for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        score = float(np.mean(sorted(path.scores[a:b])[-SCORE_BEST:]))
        if b - a >= LEAST_FRAMES and score > 0:
            stretches.append((path.frames[a], np.stack(path.boxes[a:b]), score))
    return stretches


def _best_labels(scores: np.ndarray, alpha: float) -> np.ndarray:
    """Labels (T,) of the best path through scores (T, C) where each change costs ``alpha``."""
    total = np.zeros(scores.shape[1])
    back = np.empty(scores.shape, dtype=np.int64)
    change = alpha * (1 - np.eye(scores.shape[1]))
    for t, row in enumerate(scores):
        value = total[None] - change
        back[t] = value.argmax(1)
        # The published 20 added to every score keeps rounding, and so ties, the same.
        total = row + 20 + value.max(1)
    labels = [int(total.argmax())]
    for t in range(len(scores) - 1, 0, -1):
        labels.append(int(back[t, labels[-1]]))
    return np.array(labels[::-1])
