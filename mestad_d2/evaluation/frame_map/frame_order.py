"""The order of the rows of a frame under the rules of each protocol, and where scores tie."""

from __future__ import annotations

import heapq

import numpy as np

from mestad_d2.evaluation.frame_map.protocols import Protocol
from mestad_d2.evaluation.rows import Rows


def _appearance(frame: np.ndarray, num_frames: int) -> np.ndarray:
    """Row of each frame's first appearance, the rank by which frames are ordered."""
    first = np.full(num_frames, len(frame), dtype=np.int64)
    first[frame[::-1]] = np.arange(len(frame) - 1, -1, -1)
    return first


def detection_order(det: Rows, protocol: Protocol) -> np.ndarray:
    """Order the counted rows of detections by frame of first appearance, then by the protocol's rule."""
    rank = _appearance(det.frame, len(det.keys))[det.frame]
    if not protocol.best_first:
        return np.argsort(rank, kind="stable")
    order = np.lexsort((-det.scores, rank))
    if not len(order):
        return order
    starts = np.flatnonzero(np.diff(rank[order], prepend=-1))
    counts = np.diff(starts, append=len(order))
    place = np.arange(len(order)) - np.repeat(starts, counts)
    tied = _tied_frames(det, order)
    if protocol.cap:
        full = starts[counts > protocol.cap]
        s = det.scores[order]
        at_edge = s[full + protocol.cap - 1] == s[full + protocol.cap]
        tied = np.union1d(tied, det.frame[order[full[at_edge]]])
        kept = place < protocol.cap
    else:
        kept = np.ones(len(order), dtype=bool)
    if not len(tied):
        return order[kept]
    return _with_heaps(det, order, starts, counts, tied, kept, protocol.cap)


def _tied_frames(rows: Rows, order: np.ndarray) -> np.ndarray:
    """Frames in which two rows of one class have one score."""
    f, c, s = rows.frame[order], rows.actions[order], rows.scores[order]
    # Only rows whose score repeats inside their frame can tie, so the second sort is small.
    same = (f[1:] == f[:-1]) & (s[1:] == s[:-1])
    rep = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False)) if len(f) else same
    f, c, s = f[rep], c[rep], s[rep]
    by = np.lexsort((c, s, f))
    f, c, s = f[by], c[by], s[by]
    same = (f[1:] == f[:-1]) & (s[1:] == s[:-1]) & (c[1:] == c[:-1])
    return np.unique(f[1:][same])


def _with_heaps(
    rows: Rows,
    order: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    tied: np.ndarray,
    kept: np.ndarray,
    cap: int,
) -> np.ndarray:
    order, kept = order.copy(), kept.copy()
    chosen = np.isin(rows.frame[order[starts]], tied)
    for start, count in zip(starts[chosen].tolist(), counts[chosen].tolist(), strict=True):
        here = tie_order(rows, np.sort(order[start : start + count]), cap)
        order[start : start + len(here)] = here
        kept[start : start + count] = np.arange(count) < len(here)
    return order[kept]


def truth_order(gt: Rows, protocol: Protocol, tied: np.ndarray) -> np.ndarray:
    """Order ground-truth rows as they are compared; frames in ``tied`` follow the published heap order."""
    if not protocol.gt_scores:
        return np.arange(len(gt))
    order = np.lexsort((-gt.scores, gt.frame))
    if not len(tied):
        return order
    starts = np.flatnonzero(np.diff(gt.frame[order], prepend=-1))
    counts = np.diff(starts, append=len(order))
    return _with_heaps(gt, order, starts, counts, tied, np.ones(len(order), dtype=bool), 0)


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
