"""Match detections to ground truth greedily by score, for all groups at once.

A group is a video (tubes) or a frame (boxes) of one class. Detections of different groups don't compete, so
the best of every group are matched at once, then the second best, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mestad_d2.evaluation.tubes.protocols import NMS
from mestad_d2.formats.tubes.records import ranges

# (kept rows, other rows) -> their IoU.
PairIoU = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Candidates:
    """Pairs of detections and ground truths of the same group, sorted by detection.

    Attributes:
        det: (n,) row of the detection, increasing in the order in which detections are judged.
        gt: (n,) row of the ground truth, in its own order within a detection.
        iou: (n,) may be NaN.
        round: (n,) how many detections of the group were matched before.
    """

    det: np.ndarray
    gt: np.ndarray
    iou: np.ndarray
    round: np.ndarray


def pair_up(det_group: np.ndarray, gt_group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of the same group.

    Args:
        det_group: (m,) group of each detection, in the order in which they are judged.
        gt_group: (g,) group of each ground truth.

    Returns:
        rows of detections and ground truths, and how many of the group's detections come before.
    """
    by = np.argsort(gt_group, kind="stable")
    low = np.searchsorted(gt_group[by], det_group, "left")
    count = np.searchsorted(gt_group[by], det_group, "right") - low
    has = np.flatnonzero(count)
    det = np.repeat(has, count[has])
    gt = by[ranges(low[has], count[has])]
    return det, gt, np.repeat(rank_in_group(det_group[has]), count[has])


def best_first(score: np.ndarray) -> np.ndarray:
    """Order (n,) of descending scores; equal ones keep theirs."""
    if score.dtype != np.float32 or len(score) >= 2**32:
        return np.argsort(-score, kind="stable")
    # Bits of a float that sort as whole numbers, descending, with the row behind them: such keys are sorted
    # several times faster than by a stable argsort. Adding 0 makes -0 and 0 equal.
    bits = (score + np.float32(0)).view(np.uint32)
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    keys = (~ascending).astype(np.uint64) << np.uint64(32) | np.arange(len(score), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(2**32 - 1)).astype(np.int64)


def rank_in_group(group: np.ndarray) -> np.ndarray:
    """Count the rows of the same group before each row (n,)."""
    by = np.argsort(group, kind="stable")
    _, first, count = np.unique(group[by], return_index=True, return_counts=True)
    rank = np.empty(len(group), dtype=np.int64)
    rank[by] = np.arange(len(group)) - np.repeat(first, count)
    return rank


def claim(pairs: Candidates, detections: int, truths: int, threshold: float, rest: bool, strict: bool):
    """Match all detections at one threshold.

    Args:
        rest: a detection may match any ground truth that is left; else only its best one.
        strict: the IoU must be above the threshold.

    Returns:
        (detections,) row of the claimed ground truth, -1 without; (n,) bool, pairs that were compared;
        (detections,) bool, detections whose best ground truth fits but was taken (never with ``rest``).
    """
    claimed = np.full(detections, -1, dtype=np.int64)
    repeated = np.zeros(detections, dtype=bool)
    taken = np.zeros(truths, dtype=bool)
    looked = np.ones(len(pairs.det), dtype=bool)
    for rows in _rounds(pairs.round):
        det, gt, iou = pairs.det[rows], pairs.gt[rows], pairs.iou[rows]
        if rest:
            free = ~taken[gt]
            looked[rows] = free
            det, gt, iou = det[free], gt[free], iou[free]
        if not len(det):
            continue
        start = np.flatnonzero(np.concatenate([[True], det[1:] != det[:-1]]))
        top = np.maximum.reduceat(iou, start)
        count = np.diff(np.append(start, len(det)))
        at_top = np.flatnonzero(iou == np.repeat(top, count))
        fits = top > threshold if strict else top >= threshold
        best = at_top[np.searchsorted(at_top, start[fits])]
        fresh = ~taken[gt[best]]
        claimed[det[best[fresh]]] = gt[best[fresh]]
        taken[gt[best[fresh]]] = True
        repeated[det[best[~fresh]]] = True
    return claimed, looked, repeated


def suppress(group: np.ndarray, score: np.ndarray, rule: NMS, iou: PairIoU) -> tuple[np.ndarray, np.ndarray]:
    """Apply non-maximum suppression within groups; among equal scores the later row wins.

    Args:
        group: (n,); score: (n,).

    Returns:
        rows that stay and their (n_kept,) scores: by group and then best first; soft: all rows as they were.
    """
    order = np.lexsort((-np.arange(len(group)), -score, group))
    grouped = group[order]
    _, first, count = np.unique(grouped, return_index=True, return_counts=True)
    weight = np.ones(len(group))
    alive = np.ones(len(group), dtype=bool)
    kept = np.zeros(len(group), dtype=bool)
    for turn in range(int(count.max()) if len(count) else 0):
        has = count > turn
        at = first[has] + turn
        here = alive[at]
        at, left = at[here], (count[has] - turn - 1)[here]
        kept[at] = True
        others = ranges(at + 1, left)
        mine = np.repeat(at, left)
        live = alive[others]
        others, mine = others[live], mine[live]
        if not len(others):
            continue
        overlap = iou(order[mine], order[others])
        # An undefined overlap suppresses in hard NMS and counts as 0 in soft NMS.
        gone = overlap > rule.iou if rule.soft else ~(overlap <= rule.iou)
        alive[others[gone]] = False
        weight[others[gone]] = 1 - overlap[gone]
    if not rule.soft:
        return order[kept], score[order[kept]]
    new = np.empty(len(group))
    new[order] = score[order] * weight
    return np.arange(len(group)), new


def _rounds(round_of: np.ndarray) -> Iterator[np.ndarray]:
    by = np.argsort(round_of, kind="stable")
    ends = np.cumsum(np.bincount(round_of)) if len(round_of) else []
    start = 0
    for end in ends:
        if end > start:
            yield by[start:end]
        start = int(end)
