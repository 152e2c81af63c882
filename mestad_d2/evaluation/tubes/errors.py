"""Classify false positives: wrong place, wrong action, wrong time, duplicate, or background.

The shares are those of the published analyses (ACT and MOC for frames, MultiSports for tubes): the share of each
kind among the detections so far is integrated over recall, as precision is for AP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mestad_d2.evaluation.tubes.frame_map import frame_groups, judge_class
from mestad_d2.evaluation.tubes.matching import claim, pair_up
from mestad_d2.evaluation.tubes.overlap import box_iou, tube_iou
from mestad_d2.evaluation.tubes.precision import area, curve
from mestad_d2.evaluation.tubes.protocols import Protocol, Rules
from mestad_d2.evaluation.tubes.result import ClassAPs
from mestad_d2.evaluation.tubes.video_map import candidates, class_rows, ranking
from mestad_d2.formats.tubes.records import FrameBoxes, Tubes

FRAME_KINDS = {
    "localization": "the action is in this frame, but not in this place",
    "classification": "a person there does another action",
    "timing": "the action is in this video, but not in this frame",
    "other": "nothing of it in this video",
}
VIDEO_KINDS = {
    "repeat": "found twice",
    "extra": "nothing there",
    "localization": "right time, wrong place",
    "classification": "a person there does another action",
    "timing": "right place, wrong time",
    "cls+time": "something else, and at another time",
    "cls+loc": "something else, and in another place",
    "time+loc": "wrong time and wrong place",
    "cls+time+loc": "something else, at another time and place",
}


@dataclass(frozen=True)
class Errors:
    """Kinds of false positives.

    Attributes:
        shares: by kind, with "AP" and "missed" (1 - recall), by class; NaN for classes that are left out.
        kind: by class, (n,) the kind of each judged detection as index into the kinds, -1 for a true one.
    """

    shares: dict[str, ClassAPs]
    kind: dict[int, np.ndarray]


def frame_errors(
    gt: Tubes, det: FrameBoxes, classes: tuple[str, ...], protocol: Protocol, threshold: float = 0.5
) -> Errors:
    """Classify false positives among frame detections."""
    rules = protocol.frame
    truth = gt.as_frames()
    gt_rows, det_rows = class_rows(truth.label, len(classes)), class_rows(det.label, len(classes))
    group, gt_frame = frame_groups(det, truth)
    kinds: dict[int, np.ndarray] = {}
    for c, name in enumerate(classes):
        if name in rules.excluded:
            continue
        judged = judge_class(truth, gt_frame, gt_rows[c], det, group, det_rows[c], rules, threshold)
        frame = group[judged.rows]
        own = np.isin(frame, gt_frame[gt_rows[c]])
        others = np.flatnonzero(truth.label != c)
        false = np.flatnonzero(judged.claimed < 0)
        best = _best_box(det, judged.rows[false], frame[false], truth, others, gt_frame[others], rules)
        kind = np.full(len(judged.rows), -1, dtype=np.int64)
        seen = np.isin(frame, gt_frame[others])
        acts = np.isin(det.video[judged.rows], truth.video[gt_rows[c]])
        fits = np.zeros(len(judged.rows), dtype=bool)
        fits[false] = best >= threshold
        wrong = np.select([own, seen & fits, seen, acts], [0, 1, 3, 2], 3)
        kind[false] = wrong[false]
        kinds[c] = kind
    truths = [len(rows) for rows in gt_rows]
    return Errors(_shares(kinds, list(FRAME_KINDS), truths, rules, len(classes)), kinds)


def video_errors(
    gt: Tubes, det: Tubes, classes: tuple[str, ...], protocol: Protocol, threshold: float = 0.5
) -> Errors:
    """Classify false positives among tubes."""
    rules = protocol.video
    ranked, _ = ranking(det, len(classes), rules)
    pairs, _ = candidates(gt, det, ranked, len(classes), rules)
    claimed, _, _ = claim(pairs, len(ranked), len(gt), threshold, rules.taken == "rest", rules.strict)
    at, of, _ = pair_up(det.video[ranked], gt.video)
    overlap = tube_iou(gt, det, of, ranked[at], rules)
    enough = _beyond(rules)
    same = gt.label[of] == det.label[ranked[at]]
    n = len(ranked)
    best_own, best_other = (
        _best(at, np.where(same, overlap.iou, -1), n),
        _best(at, np.where(same, -1, overlap.iou), n),
    )
    best, which = _best_and_where(at, overlap.iou, n)
    pair = np.maximum(which, 0)
    if len(at):
        time = enough(overlap.temporal[pair], np.sqrt(threshold))
        place = enough(overlap.spatial[pair], np.sqrt(threshold))
        own = same[pair]
    else:
        time = place = own = np.zeros(n, dtype=bool)
    kind = np.select(
        [
            claimed >= 0,
            enough(best_own, threshold),
            enough(best_other, threshold),
            ~(best > 0),
            own & time,
            own & place,
            own,
            time,
            place,
        ],
        [-1, 0, 3, 1, 2, 4, 7, 6, 5],
        8,
    )
    by_class = class_rows(det.label[ranked], len(classes))
    kinds = {c: kind[rows] for c, rows in enumerate(by_class) if classes[c] not in rules.excluded}
    truths = np.bincount(gt.label, minlength=len(classes)).tolist()
    return Errors(_shares(kinds, list(VIDEO_KINDS), truths, rules, len(classes)), kinds)


def _beyond(rules: Rules) -> Callable[[np.ndarray, float], np.ndarray]:
    return np.greater if rules.strict else np.greater_equal


def _shares(
    kinds: dict[int, np.ndarray], names: list[str], truths: list[int], rules: Rules, num_classes: int
) -> dict[str, ClassAPs]:
    shares = {name: np.full(num_classes, np.nan) for name in ("AP", *names, "missed")}
    for c, kind in kinds.items():
        if not truths[c]:
            continue
        precision, recall = curve(kind < 0, truths[c], rules)
        shares["AP"][c] = area(precision, recall, rules)
        ranks = np.arange(1, len(kind) + 1)
        for i, name in enumerate(names):
            shares[name][c] = area(np.cumsum(kind == i) / ranks, recall, rules, start=0.0)
        shares["missed"][c] = 1 - (recall[-1] if len(recall) else 0.0)
    return {name: ClassAPs(values) for name, values in shares.items()}


def _best_box(det, rows, frame, truth, others, other_frame, rules: Rules) -> np.ndarray:
    at, of, _ = pair_up(frame, other_frame)
    iou = box_iou(truth.boxes[others[of]], det.boxes[rows[at]], rules.pixels)
    return _best(at, np.nan_to_num(iou), len(rows))


def _best(at: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    best = np.full(count, -1.0)
    np.fmax.at(best, at, values)
    return best


def _best_and_where(at: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Best value of each detection, -1 without any, and the first pair that has it."""
    best = _best(at, values, count)
    which = np.full(count, -1, dtype=np.int64)
    top = np.flatnonzero(values == best[at])
    which[at[top[::-1]]] = top[::-1]
    return best, which
