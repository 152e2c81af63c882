"""Video-mAP and frame-mAP written from the words of the published conventions, one pair at a time."""

from __future__ import annotations

import math
from collections import defaultdict

from mestad_d2.evaluation.tubes.protocols import Rules
from mestad_d2.formats.tubes.records import Tubes

Box = tuple[float, float, float, float]


def box_overlap(a: Box, b: Box, pixels: str) -> float:
    plus = 1 if pixels == "inclusive" else 0
    aw, ah = a[2] - a[0] + plus, a[3] - a[1] + plus
    bw, bh = b[2] - b[0] + plus, b[3] - b[1] + plus
    bx, by = b[0], b[1]
    if pixels == "shifted":
        bx, by, bw, bh = bx + 1, by + 1, bw + 1, bh + 1
    w = max(0.0, min(a[0] + aw, bx + bw) - max(a[0], bx))
    h = max(0.0, min(a[1] + ah, by + bh) - max(a[1], by))
    union = aw * ah + bw * bh - w * h
    return w * h / union if union else math.nan


def tube_overlap(a: dict[int, Box], b: dict[int, Box], rules: Rules) -> float:
    common = sorted(set(a) & set(b))
    total = sum(box_overlap(a[f], b[f], rules.pixels) for f in common)
    if rules.time == "present":
        zero = sum(v for f in common if not math.isnan(v := box_overlap(a[f], b[f], rules.pixels)))
        return zero / len(set(a) | set(b))
    first, last = max(min(a), min(b)), min(max(a), max(b))
    if last < first or (last == first and not rules.one_frame):
        return 0.0
    one = 1 if rules.time == "frames" else 0
    union = max(max(a), max(b)) - min(min(a), min(b)) + one
    if not union:
        return math.nan
    return total / len(common) * (last - first + one) / union


def average_precision(hits: list[bool], truths: int, rules: Rules) -> float:
    points, true = [], 0
    for i, hit in enumerate(hits, 1):
        true += hit
        points.append((true / (truths + rules.recall_epsilon), true / i))
    ap, before = 0.0, (0.0, 1.0)
    for i, (recall, precision) in enumerate(points):
        if rules.curve == "trapezoid":
            ap += (recall - before[0]) * (precision + before[1]) / 2
        else:
            ap += (recall - before[0]) * max(p for _, p in points[i:])
        before = (recall, precision)
    return ap


def judge(groups: dict, truths: dict, overlap, threshold: float, rules: Rules, num_truths: int) -> float:
    """AP of one class. ``groups``: list of (group, score, thing) in base order; ``truths``: group -> things."""
    left = {group: list(range(len(things))) for group, things in truths.items()}
    hits = []
    for group, _, thing in sorted(groups, key=lambda row: -row[1]):
        things = truths.get(group, [])
        tried = left.get(group, []) if rules.taken == "rest" else range(len(things))
        best = max(tried, key=lambda i: overlap(things[i], thing), default=None)
        value = -1.0 if best is None else overlap(things[best], thing)
        fits = value > threshold if rules.strict else value >= threshold
        hits.append(fits and best in left[group])
        if hits[-1]:
            left[group].remove(best)
    return average_precision(hits, num_truths, rules)


def suppressed(rows: list, overlap, iou: float) -> list:
    """Hard suppression; among equal scores the later row wins."""
    order = sorted(range(len(rows)), key=lambda i: (-rows[i][1], -i))
    kept: list = []
    for i in order:
        if all(overlap(rows[k][2], rows[i][2]) <= iou for k in kept):
            kept.append(i)
    return [rows[i] for i in kept]


def boxes_of(tubes: Tubes, i: int) -> dict[int, Box]:
    rows = slice(tubes.start[i], tubes.start[i + 1])
    return {int(f): tuple(b) for f, b in zip(tubes.frame[rows], tubes.boxes[rows].tolist(), strict=True)}


def slow_video_map(gt: Tubes, det: Tubes, num_classes: int, rules: Rules, threshold: float) -> list[float]:
    """AP by class, NaN where the class is left out; only for input on which the published code runs."""

    def overlap(a: dict, b: dict) -> float:
        return tube_overlap(a, b, rules)

    result = []
    for c in range(num_classes):
        truths = defaultdict(list)
        for i in range(len(gt)):
            if gt.label[i] == c:
                truths[int(gt.video[i])].append(boxes_of(gt, i))
        rows = [
            (int(det.video[j]), float(det.score[j]), boxes_of(det, j))
            for j in range(len(det))
            if det.label[j] == c
        ]
        if rules.nms:
            by_video = defaultdict(list)
            for row in rows:
                by_video[row[0]].append(row)
            rows = [r for v in sorted(by_video) for r in suppressed(by_video[v], overlap, rules.nms.iou)]
        if rules.order == "video_score":
            rows.sort(key=lambda row: (row[0], -row[1]))
        count = sum(map(len, truths.values()))
        if not count:
            rule = rules.only_detections if rows else rules.absent
            result.append(0.0 if rule == "zero" else math.nan)
        else:
            result.append(judge(rows, truths, overlap, threshold, rules, count))
    return result
