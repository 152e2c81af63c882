"""Examples for the report: false positives of highest score, and missed boxes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from mestad_d2.evaluation.frame_map.matching import IOU_THRESHOLD, best_of_any_class
from mestad_d2.evaluation.frame_map.score import FrameMAP, rank_scores

KINDS = {
    "twice": "the person and action are right, but a detection of higher score was matched first",
    "place": "right action, box too far off (IoU 0.1 to 0.5)",
    "action": "a person is there, doing something else",
    "both": "IoU 0.1 to 0.5 with a person who does something else",
    "nobody": "no annotated person near (IoU below 0.1)",
}
_NEAR = 0.1


@dataclass(frozen=True)
class Example:
    """One false positive (score set) or miss (score None).

    Attributes:
        box: x1 y1 x2 y2 as fractions.
        other: the closest ground-truth box, or None.
        remark: description in words.
    """

    video: str
    timestamp: float
    action_id: int
    box: tuple[float, ...]
    other: tuple[float, ...] | None
    score: float | None
    remark: str


def false_positive_kinds(result: FrameMAP) -> Counter[str]:
    """Classify the false positives among each class's best n detections, n = its number of boxes."""
    which = _hurting(result)
    return Counter(_kinds(result, which)[0])


def best_false_positives(result: FrameMAP, count: int = 24, per_class: int = 2) -> list[Example]:
    """Return the false positives of highest score, at most ``per_class`` of a class."""
    m = result.matches
    which = _hurting(result)
    scores = m.det.scores[m.order[which]]
    actions = m.det.actions[m.order[which]]
    chosen = which[_spread(rank_scores(scores), actions, count, per_class)]
    kinds, others = _kinds(result, chosen)
    examples = []
    for kind, other, row in zip(kinds, others, m.order[chosen].tolist(), strict=True):
        remark = KINDS[kind]
        if kind == "action":
            remark = "annotated: " + ", ".join(_actions_of(result, other))
        box = None if other < 0 else tuple(m.gt.boxes[other].tolist())
        examples.append(_example(m.det, row, box, m.det.scores[row].item(), remark))
    return examples


def best_misses(result: FrameMAP, count: int = 24, per_class: int = 2) -> list[Example]:
    """Return unmatched ground-truth boxes, those of the best classes first, then the largest first."""
    m = result.matches
    missed = np.ones(len(m.gt), dtype=bool)
    missed[m.best[m.tp]] = False
    rows = np.flatnonzero(missed)
    b = m.gt.boxes[rows]
    aps = np.array([result.per_class[a].ap for a in m.gt.actions[rows].tolist()], dtype=np.float64)
    order = np.lexsort((-(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]), -aps))
    chosen = rows[_spread(order, m.gt.actions[rows], count, per_class)]
    tried = set(m.best[(m.iou >= IOU_THRESHOLD) & ~m.tp].tolist())
    words = ("no detection of this action reaches IoU 0.5", "its best detections were matched to another box")
    return [_example(m.gt, row, None, None, words[row in tried]) for row in chosen.tolist()]


def _hurting(result: FrameMAP) -> np.ndarray:
    m = result.matches
    actions = m.det.actions[m.order]
    by = np.argsort(actions, kind="stable")
    ids = list(result.per_class)
    low = np.searchsorted(actions[by], ids, "left")
    high = np.searchsorted(actions[by], ids, "right")
    parts = [np.empty(0, dtype=np.int64)]
    for action_id, a, b in zip(ids, low, high, strict=True):
        mine = by[a:b]
        parts.append(mine[rank_scores(m.det.scores[m.order[mine]])][: result.per_class[action_id].num_gt])
    found = np.concatenate(parts)
    return found[~m.tp[found]]


def _kinds(result: FrameMAP, which: np.ndarray) -> tuple[list[str], list[int]]:
    """Kind of each detection and the row of its closest ground truth (-1: none)."""
    m = result.matches
    any_iou, any_best = best_of_any_class(m, which)
    kinds, others = [], []
    columns = (m.iou[which], m.best[which], any_iou, any_best)
    for iou, best, near, nearest in zip(*(c.tolist() for c in columns), strict=True):
        if iou >= IOU_THRESHOLD:
            kind, other = "twice", best
        elif near >= IOU_THRESHOLD:
            kind, other = "action", nearest
        elif iou >= _NEAR:
            kind, other = "place", best
        elif near >= _NEAR:
            kind, other = "both", nearest
        else:
            kind, other = "nobody", -1
        kinds.append(kind)
        others.append(other)
    return kinds, others


def _actions_of(result: FrameMAP, row: int) -> list[str]:
    gt = result.matches.gt
    same = (gt.frame == gt.frame[row]) & (gt.boxes == gt.boxes[row]).all(axis=1)
    return [result.per_class[a].name for a in sorted(set(gt.actions[same].tolist()))]


def _spread(order: np.ndarray, actions: np.ndarray, count: int, per_class: int) -> np.ndarray:
    """First ``count`` of ``order`` with at most ``per_class`` of an action."""
    taken: Counter[int] = Counter()
    chosen = []
    for i in order.tolist():
        if len(chosen) == count:
            break
        action = int(actions[i])
        if taken[action] < per_class:
            taken[action] += 1
            chosen.append(i)
    return np.array(chosen, dtype=np.int64)


def _example(rows, row: int, other: tuple[float, ...] | None, score: float | None, remark: str) -> Example:
    video, time = rows.keys[rows.frame[row]].rsplit(",", 1)
    box = tuple(rows.boxes[row].tolist())
    return Example(video, float(time), int(rows.actions[row]), box, other, score, remark)
