"""The order in which the published evaluator reads the rows of one frame where scores tie."""

from __future__ import annotations

import heapq

import numpy as np

from mestad_d2.evaluation.rows import Rows


def tie_order(rows: Rows, index: np.ndarray, cap: int) -> np.ndarray:
    """Return the kept rows of one frame, best first, in the published evaluator's order of ties.

    That evaluator pushes rows on a heap of (score, id, y1, x1, y2, x2); a row enters a full heap only with
    a score above the smallest. Equal scores come out in the order of the heap's array.

    Args:
        rows: any rows.
        index: the frame's rows in the order of the file.
        cap: rows kept; 0: all.
    Returns:
        the part of ``index`` that is kept, in that order.
    """
    heap: list[tuple] = []
    places: dict[tuple, list[int]] = {}
    boxes = rows.boxes[index].tolist()
    scores, actions = rows.scores[index].tolist(), rows.actions[index].tolist()
    for place, (score, action, (x1, y1, x2, y2)) in enumerate(zip(scores, actions, boxes, strict=True)):
        entry = (score, action, y1, x1, y2, x2)
        # Kept apart, because an index inside the entry would change the order of equal entries.
        places.setdefault(entry, []).append(place)
        if not cap or len(heap) < cap:
            heapq.heappush(heap, entry)
        elif score > heap[0][0]:
            heapq.heapreplace(heap, entry)
    heap.sort(key=lambda e: -e[0])
    return index[[places[e].pop(0) for e in heap]]
