"""Match detections to ground-truth boxes, vectorised over all frames and classes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mestad_d2.boxes import paired_iou
from mestad_d2.errors import UserError
from mestad_d2.evaluation.frame_map.frame_order import detection_order, truth_order
from mestad_d2.evaluation.frame_map.protocols import Protocol
from mestad_d2.evaluation.rows import Rows

IOU_THRESHOLD = 0.5


@dataclass
class Matches:
    """Matched detections in the order in which the protocol lists them.

    Attributes:
        gt, det: the rows that count (exclusions and unknown classes removed).
        order: (m,) rows of ``det`` that are judged.
        tp: (m,) bool, whether it is the first that claims its box.
        iou: (m,) IoU with the best box of its class, 0 without any.
        best: (m,) row of ``gt`` of that box, -1 without any.
    """

    gt: Rows
    det: Rows
    order: np.ndarray
    tp: np.ndarray
    iou: np.ndarray
    best: np.ndarray

    def tp_at(self, threshold: float) -> np.ndarray:
        """Return ``tp`` at another IoU threshold, from 0.5 on."""
        return _first_claims(self.iou, self.best, threshold)


def match(gt: Rows, det: Rows, class_ids: set[int], protocol: Protocol, excluded: set[str]) -> Matches:
    """Judge detections against the ground truth at IoU 0.5.

    Each detection is compared with the box of its class of highest IoU (the first on a tie); if that box is
    taken, the detection is a false positive. Boxes of detections without area are left out.

    Raises:
        UserError: a ground-truth box is inverted and a detection has to be compared with it.
    """
    ids = np.array(sorted(class_ids), dtype=np.int64)
    if not protocol.exclusions:
        excluded = set()
    known = (
        np.unique(gt.frame[np.isin(gt.actions, ids)])
        if protocol.named_by_known_classes
        else range(len(gt.keys))
    )
    named = {gt.keys[i] for i in known}
    gt = _filter(gt, ids, excluded, None)
    # The cap applies after filtering by class only; frames are dropped whole, so the order does not matter.
    det = _filter(det, ids, excluded, named if protocol.drop_unknown_frames else None)
    gt_index = {key: i for i, key in enumerate(gt.keys)}
    to_gt = np.array([gt_index.get(key, -1) for key in det.keys], dtype=np.int64).reshape(-1)

    order = detection_order(det, protocol)
    b = det.boxes[order]
    order = order[(b[:, 0] < b[:, 2]) & (b[:, 1] < b[:, 3])]
    gt_order = truth_order(gt, protocol, np.empty(0, dtype=np.int64))
    iou, best, unclear = _claim(gt, det, gt_order, order, to_gt)
    if protocol.gt_scores and len(unclear):
        gt_order = truth_order(gt, protocol, unclear)
        iou, best, _ = _claim(gt, det, gt_order, order, to_gt)
    return Matches(gt, det, order, _first_claims(iou, best, IOU_THRESHOLD), iou, best)


def best_of_any_class(matches: Matches, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return IoU and row of the best ground-truth box of any class for some of the judged detections.

    Args:
        which: index into ``matches.order``.
    Returns:
        (k,) IoU, 0 without any box, and (k,) row of ``matches.gt``, -1 without any.
    """
    gt = replace(matches.gt, actions=np.zeros_like(matches.gt.actions))
    det = replace(matches.det, actions=np.zeros_like(matches.det.actions))
    index = {key: i for i, key in enumerate(gt.keys)}
    to_gt = np.array([index.get(key, -1) for key in det.keys], dtype=np.int64)
    iou, best, _ = _claim(gt, det, np.arange(len(gt)), matches.order[which], to_gt)
    return iou, best


def _filter(rows: Rows, ids: np.ndarray, excluded: set[str], named: set[str] | None) -> Rows:
    keep = np.isin(rows.actions, ids)
    if excluded or named is not None:
        good = [key not in excluded and (named is None or key in named) for key in rows.keys]
        keep &= np.array(good, dtype=bool)[rows.frame]
    return rows if keep.all() else rows.select(keep)


def _claim(
    gt: Rows, det: Rows, gt_order: np.ndarray, order: np.ndarray, to_gt: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU and box of each row of ``order``, and gt frames where two boxes tie at the best IoU."""
    m = len(order)
    iou, best = np.zeros(m), np.full(m, -1, dtype=np.int64)
    nothing = np.empty(0, dtype=np.int64)
    if not m or not len(gt):
        return iou, best, nothing
    span = int(max(gt.actions.max(), det.actions.max())) + 1
    gt_group = gt.frame[gt_order] * span + gt.actions[gt_order]
    by = np.argsort(gt_group, kind="stable")
    gt_group, gt_row = gt_group[by], gt_order[by]
    frame = to_gt[det.frame[order]]
    group = np.where(frame >= 0, frame * span + det.actions[order], -1)
    low = np.searchsorted(gt_group, group, "left")
    n = np.searchsorted(gt_group, group, "right") - low
    has = np.flatnonzero(n)
    if not len(has):
        return iou, best, nothing
    n, low = n[has], low[has]
    starts = np.cumsum(n) - n
    pair_det = np.repeat(has, n)
    pair_gt = gt_row[np.arange(n.sum()) - np.repeat(starts - low, n)]
    values = _overlaps(det.boxes[order[pair_det]], gt.boxes[pair_gt], gt, pair_gt)
    top = np.maximum.reduceat(values, starts)
    at_top = np.flatnonzero(values == np.repeat(top, n))
    first = at_top[np.searchsorted(at_top, starts)]
    iou[has], best[has] = top, pair_gt[first]

    more = at_top[~np.isin(at_top, first)]
    more = more[values[more] >= IOU_THRESHOLD]
    return iou, best, np.unique(gt.frame[pair_gt[more]])


def _first_claims(iou: np.ndarray, best: np.ndarray, threshold: float) -> np.ndarray:
    """(m,) bool: the first row that reaches the threshold on each box, of those in order of judgement."""
    good = np.flatnonzero((iou >= threshold) & (best >= 0))
    _, claim = np.unique(best[good], return_index=True)
    tp = np.zeros(len(iou), dtype=bool)
    tp[good[claim]] = True
    return tp


def _as_sizes(gt: Rows) -> str:
    """A hint where all boxes stay inside the picture when read as x, y, width, height."""
    ends = gt.boxes[:, :2] + gt.boxes[:, 2:]
    return ", as are others; x,y,width,height?" if gt.boxes.min() >= 0 and ends.max() <= 1.01 else ""


def _overlaps(a: np.ndarray, b: np.ndarray, gt: Rows, gt_rows: np.ndarray) -> np.ndarray:
    """IoU of detections with ground-truth boxes (n, 4), none of which may be inverted."""
    bad = (b[:, 0] > b[:, 2]) | (b[:, 1] > b[:, 3])
    if bad.any():
        row = int(gt_rows[bad][0])
        raise UserError(
            f"{gt.source}, row {int(gt.lines[row])}: box {gt.boxes[row].tolist()} is inverted{_as_sizes(gt)}; "
            "write x1,y1,x2,y2 with x1 <= x2 and y1 <= y2"
        )
    return paired_iou(a, b)
