"""Frame-mAP of AVA at IoU 0.5, equal to the published evaluators to the last digit, vectorised."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mestad_d2.evaluation.frame_map.matching import Matches, match
from mestad_d2.evaluation.frame_map.protocols import Protocol, get_protocol
from mestad_d2.evaluation.rows import Rows
from mestad_d2.formats.label_map import GROUPS, LabelMap

# COCO's thresholds 0.5, 0.55, ... 0.95, at which EVAD counts actions too.
COCO_IOUS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class ClassAP:
    """AP (NaN without ground truth) and counts of one class."""

    id: int
    name: str
    ap: float
    num_gt: int
    num_det: int
    num_tp: int


@dataclass
class FrameMAP:
    """Mean AP over the classes that count under the protocol (NaN without any), and its parts."""

    mAP: float
    per_class: dict[int, ClassAP]
    protocol: str
    matches: Matches = field(repr=False)

    @property
    def num_classes(self) -> int:
        """Classes that the mean is taken over."""
        return len(_counted(self.per_class, get_protocol(self.protocol)))

    def groups(self, label_map: LabelMap) -> dict[str, float]:
        """Return the mean AP of AVA's groups (pose, object, person) that occur in the ground truth."""
        found: dict[str, list[float]] = {}
        for c in _counted(self.per_class, get_protocol(self.protocol)):
            if group := label_map.group_of(c.id):
                found.setdefault(group, []).append(c.ap)
        return {g: float(np.mean(found[g])) for g in GROUPS if g in found}

    def mean_at(self, iou: float) -> float:
        """Return the mean AP at another IoU threshold, from 0.5 on; all other rules stay."""
        rules, tp = get_protocol(self.protocol), self.matches.tp_at(iou)
        actions = self.matches.det.actions[self.matches.order]
        scores = self.matches.det.scores[self.matches.order]
        aps = []
        for c in _counted(self.per_class, rules):
            mine = np.flatnonzero(actions == c.id)
            hits = tp[mine][rank_scores(scores[mine])]
            aps.append(average_precision(*precision_recall(hits, c.num_gt)))
        return float(np.mean(aps)) if aps else math.nan

    def stricter(self) -> dict[str, float]:
        """Return ``mAP75`` and ``mAP50:95``, the mean over IoU 0.5, 0.55, ... 0.95 (EVAD)."""
        means = [self.mean_at(iou) for iou in COCO_IOUS]
        return {"mAP75": means[5], "mAP50:95": float(np.mean(means))}


def frame_map(
    gt: Rows,
    det: Rows,
    label_map: LabelMap,
    protocol: str | Protocol = "activitynet",
    excluded: set[str] | None = None,
) -> FrameMAP:
    """Compute frame-mAP at IoU 0.5.

    Args:
        gt: ground truth, with frame names of this protocol (``rows.frame_key``).
        det: detections, named alike.
        label_map: only its classes count.
        protocol: a name of ``PROTOCOLS``.
        excluded: frame names left out, where the protocol has exclusions.
    Returns:
        AP is the area under the monotone precision envelope; tied scores are sorted stably.
    Raises:
        UserError: an inverted ground-truth box has to be compared with a detection.
    """
    rules = get_protocol(protocol)
    matches = match(gt, det, set(label_map.names), rules, excluded or set())
    gt_actions = np.sort(gt.actions if rules.counts_excluded else matches.gt.actions)
    det_actions = matches.det.actions[matches.order]
    scores = matches.det.scores[matches.order]
    by = np.argsort(det_actions, kind="stable")
    ids = np.array(sorted(label_map.names))
    low = np.searchsorted(det_actions[by], ids, "left")
    high = np.searchsorted(det_actions[by], ids, "right")
    num_gt = np.searchsorted(gt_actions, ids, "right") - np.searchsorted(gt_actions, ids, "left")
    per_class = {}
    for action_id, a, b, count in zip(
        ids.tolist(), low.tolist(), high.tolist(), num_gt.tolist(), strict=True
    ):
        mine = by[a:b]
        ranked = rank_scores(scores[mine])
        hits = matches.tp[mine][ranked]
        ap = average_precision(*precision_recall(hits, count)) if count else math.nan
        name = label_map.names[action_id]
        per_class[action_id] = ClassAP(action_id, name, ap, count, b - a, int(hits.sum()))
    aps = [c.ap for c in _counted(per_class, rules)]
    mean = float(np.mean(aps)) if aps else math.nan
    return FrameMAP(mean, per_class, rules.name, matches)


def _counted(per_class: dict[int, ClassAP], rules: Protocol) -> list[ClassAP]:
    """Classes that the mean is taken over: those of the ground truth and, by the rules, of the detections too."""
    return [
        c for c in per_class.values()
        if not math.isnan(c.ap) and (c.num_det or not rules.detected_classes_only)
    ]  # fmt: skip


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Return indices by falling score; of equal scores the later row comes first, as published."""
    return np.argsort(scores, kind="stable")[::-1]


def precision_recall(hits: np.ndarray, num_gt: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute precision and recall (n,) after each ranked detection; ``num_gt`` is above 0."""
    tp = np.cumsum(hits)
    return tp / np.arange(1, len(hits) + 1), tp / num_gt


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Compute the area under the precision envelope over recall (VOC, all points)."""
    if not len(precision):
        return 0.0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
