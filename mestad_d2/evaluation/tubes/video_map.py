"""Video-mAP: average precision of tubes."""

from __future__ import annotations

import numpy as np

from mestad_d2.evaluation.tubes.matching import Candidates, best_first, claim, pair_up, suppress
from mestad_d2.evaluation.tubes.overlap import TubePairs, tube_iou
from mestad_d2.evaluation.tubes.protocols import THRESHOLDS, Protocol, Rules
from mestad_d2.evaluation.tubes.result import ClassAPs, Judged, MapResult, check_labels, class_ap, with_names
from mestad_d2.formats.tubes.records import Tubes

MISSING = "AssertionError: a frame is missing inside the common span of two tubes"
_MISSING_EDGE = {
    "yowov2": "IndexError: the first or last common frame of two tubes is missing",
    "gurkirt": "index out of bounds: the first or last common frame of two tubes is missing",
}
NO_TRUTH = "ZeroDivisionError: class {name!r} has detections and no ground truth"


def video_map(
    gt: Tubes,
    det: Tubes,
    classes: tuple[str, ...],
    protocol: Protocol,
    thresholds: dict[str, tuple[float, ...]] = THRESHOLDS,
) -> MapResult:
    """Compute video-mAP of detected tubes.

    Args:
        gt, det: of the same ``videos``.
        classes: names by index.
        thresholds: of the spatio-temporal IoU, by name; several under a name are averaged.

    Raises:
        UserError: a class outside the dataset.
    """
    rules = protocol.video
    check_labels(gt.label, classes, "ground truth")
    check_labels(det.label, classes, "detections")
    result = MapResult("video", protocol.name, rules, classes)
    ranked, failure = ranking(det, len(classes), rules)
    pairs, overlaps = candidates(gt, det, ranked, len(classes), rules)
    by_class = class_rows(det.label[ranked], len(classes))
    truths = np.bincount(gt.label, minlength=len(classes))
    outside = class_failure(by_class, truths, classes, rules)
    singles: dict[float, ClassAPs] = {}
    for name, values in thresholds.items():
        for threshold in values:
            claimed, looked, _ = claim(
                pairs, len(ranked), len(gt), threshold, rules.taken == "rest", rules.strict
            )
            judged = {
                c: Judged(ranked[rows], claimed[rows], int(truths[c])) for c, rows in enumerate(by_class)
            }
            per_class = np.array([class_ap(judged[c], rules) for c in range(len(classes))])
            per_class[[name in rules.excluded for name in classes]] = np.nan
            singles[threshold] = ClassAPs(
                per_class, failure or gap_failure(overlaps, looked, protocol.name) or outside
            )
            if len(values) == 1:
                result.judged[name] = judged
    return with_names(result, singles, thresholds)


def ranking(det: Tubes, num_classes: int, rules: Rules) -> tuple[np.ndarray, str | None]:
    """Rank the detections that are judged, and say how the published suppression fails on them, if it does."""
    rows, score, failure = np.arange(len(det)), det.score, None
    if rules.time == "present":
        # A tube of holes only is not a detection.
        solid = ~np.isnan(det.boxes).any(1)
        rows = np.flatnonzero(np.bincount(det.owner[solid], minlength=len(det)))
    if rules.nms:
        failures = []

        def overlap(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            pairs = tube_iou(det, det, rows[i], rows[j], rules)
            failures.append(pairs.error.any())
            return pairs.iou

        group = det.video * num_classes + det.label
        rows, _ = suppress(group, score, rules.nms, overlap)
        failure = MISSING if any(failures) else None
    if rules.order == "video_score":
        rows = rows[np.lexsort((-score[rows], det.video[rows]))]
        score = score.astype(np.float32)
    return rows[best_first(score[rows])], failure


def candidates(
    gt: Tubes, det: Tubes, ranked: np.ndarray, num_classes: int, rules: Rules
) -> tuple[Candidates, TubePairs]:
    """Return pairs of one video and class with their overlaps; ``det`` indexes ``ranked``."""
    if rules.time == "present":
        det = _hole_free(det)
    group = det.video * num_classes + det.label
    at, truth, order = pair_up(group[ranked], gt.video * num_classes + gt.label)
    overlaps = tube_iou(gt, det, truth, ranked[at], rules)
    return Candidates(at, truth, overlaps.iou, order), overlaps


def class_rows(label: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Return the rows of each class, in order."""
    by = np.argsort(label, kind="stable")
    by = by.astype(np.int32) if len(by) < 2**31 else by
    return np.split(by, np.cumsum(np.bincount(label, minlength=num_classes))[:-1])


def class_failure(
    by_class: list[np.ndarray], truths: np.ndarray, classes: tuple[str, ...], rules: Rules
) -> str | None:
    """Say how the published code fails on a class that has only detections; None where it does not."""
    if rules.only_detections != "error":
        return None
    alone = [name for name, rows, n in zip(classes, by_class, truths, strict=True) if len(rows) and not n]
    return NO_TRUTH.format(name=alone[0]) if alone else None


def gap_failure(overlaps: TubePairs, looked: np.ndarray, protocol: str) -> str | None:
    """Say how the published code fails on a missing frame; None where none occurs."""
    if not (overlaps.error & looked).any():
        return None
    if (overlaps.edge & looked).any():
        return _MISSING_EDGE.get(
            protocol, "TypeError: the first or last common frame of two tubes is missing"
        )
    return MISSING


def _hole_free(det: Tubes) -> Tubes:
    """The tubes without NaN boxes; a tube of NaN boxes only keeps one row, which matches nothing."""
    bad = np.isnan(det.boxes).any(1)
    if not bad.any():
        return det
    keep = ~bad
    length = np.bincount(det.owner[keep], minlength=len(det))
    keep[det.start[:-1][length == 0]] = True
    length = np.maximum(length, 1)
    return Tubes(
        det.videos, det.video, det.label, det.score, np.concatenate([[0], np.cumsum(length)]),
        det.frame[keep], det.boxes[keep], det.name,
    )  # fmt: skip
