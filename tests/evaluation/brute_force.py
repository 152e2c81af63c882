"""Frame-mAP once more, in plain loops over one frame and class at a time: the truth for small data."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict


def brute_force(
    gt: list, det: list, names: set[int], protocol: str, excluded: set[str], iou: float = 0.5
) -> dict[int, tuple]:
    """AP, ground truths, detections and true positives by class.

    Rows are (frame, x1, y1, x2, y2, action, score). Raises ValueError where an inverted ground-truth box
    has to be compared.
    """
    official, mmaction = protocol == "activitynet", protocol == "mmaction2"
    best_first = protocol != "slowfast"
    truth = _frames(gt, names, 0, official or mmaction)
    found = _frames(det, names, 50 if official else 0, best_first)
    annotated = {row[0] for row in gt if not mmaction or row[5] in names}
    total = {action: sum(r[5] == action for r in gt) for action in names}
    if not official:
        for key in excluded:
            truth.pop(key, None)
            found.pop(key, None)
    judged: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for key, rows in found.items():
        if (official or mmaction) and key not in annotated:
            continue
        for action in names:
            mine = [r for r in rows if r[5] == action and r[1] < r[3] and r[2] < r[4]]
            boxes = [r for r in truth.get(key, []) if r[5] == action]
            if mine and any(b[1] > b[3] or b[2] > b[4] for b in boxes):
                raise ValueError("inverted")
            taken = [False] * len(boxes)
            for row in mine:
                overlaps = [_iou(row, b) for b in boxes]
                best = max(overlaps, default=0.0)
                hit = best >= iou and not taken[overlaps.index(best)]
                if hit:
                    taken[overlaps.index(best)] = True
                judged[action].append((row[6], hit))
    result = {}
    for action in names:
        num_gt = sum(r[5] == action for rows in truth.values() for r in rows)
        num_gt = total[action] if mmaction else num_gt
        hits = [hit for _, hit in sorted(judged[action], key=lambda j: j[0])][::-1]
        result[action] = (_ap(hits, num_gt), num_gt, len(hits), sum(hits))
    return result


def _frames(rows: list, names: set[int], cap: int, best_first: bool) -> dict[str, list]:
    frames: dict[str, list] = {}
    for row in rows:
        if row[5] not in names:
            continue
        key, x1, y1, x2, y2, action, score = row
        heap = frames.setdefault(key, [])
        entry = (score, action, y1, x1, y2, x2)
        if not best_first:
            heap.append(entry)
        elif not cap or len(heap) < cap:
            heapq.heappush(heap, entry)
        elif score > heap[0][0]:
            heapq.heapreplace(heap, entry)
    result = {}
    for key, heap in frames.items():
        order = sorted(heap, key=lambda e: -e[0]) if best_first else heap
        result[key] = [(key, x1, y1, x2, y2, action, score) for score, action, y1, x1, y2, x2 in order]
    return result


def _iou(a: tuple, b: tuple) -> float:
    w = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    h = max(0.0, min(a[4], b[4]) - max(a[2], b[2]))
    area_a, area_b = (a[4] - a[2]) * (a[3] - a[1]), (b[4] - b[2]) * (b[3] - b[1])
    return h * w / (area_a + area_b - h * w)


def _ap(hits: list[bool], num_gt: int) -> float:
    if not num_gt:
        return math.nan
    precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    return sum(max(precision[i:]) / num_gt for i in range(len(hits)) if hits[i])
