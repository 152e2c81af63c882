"""Frame-mAP over all frames, and class-agnostic overlap of boxes (frame-MABO)."""

from __future__ import annotations

import numpy as np

from mestad_d2.evaluation.tubes.matching import Candidates, best_first, claim, pair_up, suppress
from mestad_d2.evaluation.tubes.overlap import box_iou
from mestad_d2.evaluation.tubes.protocols import Protocol, Rules
from mestad_d2.evaluation.tubes.result import ClassAPs, Judged, MapResult, check_labels, class_ap
from mestad_d2.evaluation.tubes.video_map import class_failure, class_rows
from mestad_d2.formats.tubes.records import FrameBoxes, Tubes

_PAIRS_AT_ONCE = 1 << 21


def frame_map(
    gt: Tubes | FrameBoxes,
    det: FrameBoxes,
    classes: tuple[str, ...],
    protocol: Protocol,
    threshold: float = 0.5,
) -> MapResult:
    """Compute frame-mAP; detections on frames and videos without ground truth are false positives.

    Args:
        gt: tubes or boxes of the same ``videos``; boxes, where only some frames were looked at.
        threshold: of the box IoU.

    Raises:
        UserError: a class outside the dataset.
    """
    rules = protocol.frame
    check_labels(gt.label, classes, "ground truth")
    check_labels(det.label, classes, "detections")
    truth = gt.as_frames() if isinstance(gt, Tubes) else gt
    group, truth_group = frame_groups(det, truth)
    gt_rows = class_rows(truth.label, len(classes))
    det_rows = class_rows(det.label, len(classes))
    name = f"{threshold:g}"
    result = MapResult("frame", protocol.name, rules, classes)
    per_class, judged = np.full(len(classes), np.nan), {}
    for c, class_name in enumerate(classes):
        if class_name in rules.excluded:
            continue
        # Class by class, since the pairs of all classes at once would dominate the memory.
        judged[c] = judge_class(truth, truth_group, gt_rows[c], det, group, det_rows[c], rules, threshold)
        per_class[c] = class_ap(judged[c], rules)
    failure = class_failure(det_rows, np.array([len(rows) for rows in gt_rows]), classes, rules)
    result.thresholds[name] = ClassAPs(per_class, failure)
    result.judged[name] = judged
    return result


def frame_groups(det: FrameBoxes, truth: FrameBoxes) -> tuple[np.ndarray, np.ndarray]:
    """Number the frame of each detection and of each ground-truth box."""
    frames = 1 + max(int(truth.frame.max(initial=0)), int(det.frame.max(initial=0)))
    kind = np.int32 if frames * max(len(det.videos), 1) < 2**31 else np.int64
    return tuple(
        boxes.video.astype(kind) * kind(frames) + boxes.frame.astype(kind, copy=False)
        for boxes in (det, truth)
    )


def judge_class(
    truth: FrameBoxes,
    truth_group: np.ndarray,
    truth_rows: np.ndarray,
    det: FrameBoxes,
    group: np.ndarray,
    rows: np.ndarray,
    rules: Rules,
    threshold: float,
) -> Judged:
    """Match the detections ``rows`` of one class against its ground truth ``truth_rows``.

    Args:
        group, truth_group: see ``frame_groups``.
    """
    mine, its = group[rows], truth_group[truth_rows]
    score, keep = det.score[rows], None
    if rules.nms:
        boxes = _rounded(det.boxes[rows], rules)
        keep, score = suppress(mine, score, rules.nms, lambda i, j: box_iou(boxes[i], boxes[j], rules.pixels))
        rows, mine = rows[keep], mine[keep]
    if rules.order == "name":
        base = _name_order(det, rows, mine)
    elif rules.order == "frame" and len(mine) and (np.diff(mine) < 0).any():
        base = np.argsort(mine, kind="stable")
    else:
        base = None
    order = best_first(score if base is None else score[base])
    order = order if base is None else base[order]
    rows = rows[order]
    # Only detections on frames with ground truth need a closer look; mostly these are few.
    has_truth = np.zeros(int(max(group.max(initial=-1), its.max(initial=-1))) + 1, dtype=bool)
    has_truth[its] = True
    near = np.flatnonzero(has_truth[mine][order])
    at, of, turn = pair_up(mine[order[near]], its)
    found, real = det.boxes[rows[near]], truth.boxes[truth_rows]
    iou = box_iou(_rounded(real, rules)[of], _rounded(found, rules)[at], rules.pixels)
    if rules.undefined == "zero":
        iou = np.nan_to_num(iou, nan=0.0)
    claimed, _, _ = claim(
        Candidates(at, of, iou, turn), len(near), len(its), threshold, rules.taken == "rest", rules.strict
    )
    every = np.full(len(rows), -1, dtype=np.int32)
    hit = claimed >= 0
    every[near[hit]] = truth_rows[claimed[hit]]
    return Judged(rows, every, len(its))


def frame_mabo(gt: Tubes, det: FrameBoxes, classes: tuple[str, ...], protocol: Protocol) -> ClassAPs:
    """Compute the mean best overlap: the best IoU of each ground-truth box with any detection of its frame.

    Classes and scores of detections don't matter. A class without ground truth is left out.
    """
    truth = gt.as_frames()
    best = np.zeros(len(truth))
    for v in range(len(gt.videos)):
        # Video by video, since there are many pairs of all classes.
        mine, other = np.flatnonzero(truth.video == v), np.flatnonzero(det.video == v)
        at, of, _ = pair_up(truth.frame[mine], det.frame[other])
        for part in range(0, len(at), _PAIRS_AT_ONCE):
            a, b = at[part : part + _PAIRS_AT_ONCE], of[part : part + _PAIRS_AT_ONCE]
            iou = box_iou(truth.boxes[mine[a]], det.boxes[other[b]], protocol.frame.pixels)
            np.fmax.at(best, mine[a], iou)
    count = np.bincount(truth.label, minlength=len(classes))
    total = np.bincount(truth.label, best, minlength=len(classes))
    with np.errstate(invalid="ignore"):
        return ClassAPs(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _rounded(boxes: np.ndarray, rules: Rules) -> np.ndarray:
    return np.rint(boxes) if rules.rounded else boxes


def _name_order(det: FrameBoxes, rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Rows in the order of the names of their frames' files."""
    _, first, of = np.unique(group, return_index=True, return_inverse=True)
    names = [f"{det.videos[det.video[rows[i]]]}_{det.frame[rows[i]]:05d}" for i in first.tolist()]
    rank = np.empty(len(names), dtype=np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return np.argsort(rank[of], kind="stable")
