"""IoU of pairs of boxes and spatio-temporal IoU of pairs of tubes, all pairs at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mestad_d2.evaluation.tubes.protocols import Rules
from mestad_d2.formats.tubes.records import Tubes, ranges

# Boxes compared at once; more only costs memory.
_AT_ONCE = 1 << 20


def box_iou(truth: np.ndarray, found: np.ndarray, pixels: str) -> np.ndarray:
    """Compute the IoU of pairs of boxes (n, 4), x1, y1, x2, y2 in pixels -> (n,).

    NaN for a pair of boxes without area under "continuous" pixels.

    Args:
        pixels: see ``Rules``; "continuous" and "inclusive" treat both boxes alike.
    """
    # Column views are strided: one copy makes each operation several times faster.
    a, b = np.ascontiguousarray(truth.T), np.ascontiguousarray(found.T)
    wider = 1.0 if pixels == "inclusive" else 0.0
    shift = larger = 0.0
    if pixels == "shifted":
        # Width and height as stored get +1, and so do x and y, of the detection only.
        shift, larger = 1.0, 1.0
    width_a, height_a = a[2] - a[0] + wider, a[3] - a[1] + wider
    width_b, height_b = b[2] - b[0] + wider + larger, b[3] - b[1] + wider + larger
    left, top = np.maximum(a[0], b[0] + shift), np.maximum(a[1], b[1] + shift)
    right = np.minimum(a[0] + width_a, b[0] + shift + width_b)
    bottom = np.minimum(a[1] + height_a, b[1] + shift + height_b)
    inner = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return inner / (width_a * height_a + width_b * height_b - inner)


@dataclass(frozen=True)
class TubePairs:
    """Spatio-temporal IoU of pairs of tubes and its two factors, (n,) each.

    Attributes:
        iou: temporal x spatial; may be NaN where the published formula divides 0 by 0.
        temporal: temporal IoU.
        spatial: mean box IoU over the common frames.
        error: the published code raises on this pair, because a frame is missing inside the common span.
        edge: ... and the missing frame is the first or last of the common span.
    """

    iou: np.ndarray
    temporal: np.ndarray
    spatial: np.ndarray
    error: np.ndarray
    edge: np.ndarray


def tube_iou(truth: Tubes, found: Tubes, i: np.ndarray, j: np.ndarray, rules: Rules) -> TubePairs:
    """Compute the spatio-temporal IoU of tubes ``i`` of ``truth`` with tubes ``j`` of ``found``, (n,) indices each."""
    parts = []
    rows = np.minimum(truth.length[i], found.length[j])
    cuts = np.searchsorted(np.cumsum(rows), np.arange(_AT_ONCE, rows.sum() + _AT_ONCE, _AT_ONCE))
    for part in np.split(np.arange(len(i)), np.unique(cuts[cuts < len(i)])):
        parts.append(_some_pairs(truth, found, i[part], j[part], rules))
    fields = zip(*parts, strict=True)
    return TubePairs(*(np.concatenate(field) for field in fields))


def _some_pairs(truth: Tubes, found: Tubes, i: np.ndarray, j: np.ndarray, rules: Rules) -> tuple:
    first = np.maximum(truth.first[i], found.first[j])
    last = np.minimum(truth.last[i], found.last[j])
    meet = last >= first
    if not rules.one_frame:
        meet &= last > first
    low_i, count_i = _span(truth, i, first, last, meet)
    low_j, count_j = _span(found, j, first, last, meet)
    pair, row_i, row_j = _common_rows(truth, found, low_i, count_i, low_j, count_j)
    overlap = box_iou(truth.boxes[row_i], found.boxes[row_j], rules.pixels)
    if rules.undefined == "zero":
        # Boxes without area have no overlap, not an undefined one.
        overlap = np.nan_to_num(overlap, nan=0.0)
    n = len(i)
    common = np.bincount(pair, minlength=n)
    total = np.bincount(pair, overlap, minlength=n)
    either = count_i + count_j - common
    error = meet & ((common < count_i) | (common < count_j))
    with np.errstate(invalid="ignore", divide="ignore"):
        spatial = np.where(either > 0, total / np.maximum(either, 1), 0.0)
        if rules.time == "present":
            union = truth.length[i] + found.length[j] - common
            spatial, temporal = total / np.maximum(common, 1), common / union
            iou = total / union
        else:
            one = 1 if rules.time == "frames" else 0
            union = np.maximum(truth.last[i], found.last[j]) - np.minimum(truth.first[i], found.first[j])
            temporal = np.where(meet, (last - first + one) / (union + one), 0.0)
            iou = np.where(meet, spatial * temporal, 0.0)
    edge = error & (_starts_or_ends_late(truth, low_i, count_i, first, last, meet)
                    | _starts_or_ends_late(found, low_j, count_j, first, last, meet))  # fmt: skip
    if rules.holes == "zero":
        error = edge = np.zeros(n, dtype=bool)
    return iou, temporal, spatial, error, edge


def _span(tubes: Tubes, which: np.ndarray, first, last, meet) -> tuple[np.ndarray, np.ndarray]:
    """First row and number of rows of each tube between two frames."""
    start, length = tubes.start[which], tubes.length[which]
    begin, end = tubes.first[which], tubes.last[which]
    dense = end - begin + 1 == length
    low = np.where(dense, start + first - begin, 0)
    high = np.where(dense, start + last - begin + 1, 0)
    for k in np.flatnonzero(~dense & meet).tolist():
        frames = tubes.frame[start[k] : start[k] + length[k]]
        low[k] = start[k] + np.searchsorted(frames, first[k], "left")
        high[k] = start[k] + np.searchsorted(frames, last[k], "right")
    return np.where(meet, low, 0), np.where(meet, high - low, 0)


def _common_rows(truth: Tubes, found: Tubes, low_i, count_i, low_j, count_j) -> tuple:
    """Pair number and both rows of each frame that both tubes of a pair have."""
    pair = np.repeat(np.arange(len(low_i)), count_i)
    row_i = ranges(low_i, count_i)
    offset = row_i - low_i[pair]
    row_j = low_j[pair] + np.minimum(offset, np.maximum(count_j[pair] - 1, 0))
    # Tubes without gaps are aligned; only others need a search for the frame.
    same = (offset < count_j[pair]) & (count_j[pair] > 0)
    same[same] = truth.frame[row_i[same]] == found.frame[row_j[same]]
    odd = np.unique(pair[~same])
    keep = same & ~np.isin(pair, odd)
    extra = [(np.empty(0, np.int64),) * 3]
    for k in odd.tolist():
        a = truth.frame[low_i[k] : low_i[k] + count_i[k]]
        b = found.frame[low_j[k] : low_j[k] + count_j[k]]
        _, at_a, at_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
        extra.append((np.full(len(at_a), k), low_i[k] + at_a, low_j[k] + at_b))
    parts = zip(*[(pair[keep], row_i[keep], row_j[keep]), *extra], strict=True)
    return tuple(np.concatenate(part) for part in parts)


def _starts_or_ends_late(tubes: Tubes, low, count, first, last, meet) -> np.ndarray:
    late = meet & (count == 0)
    has = np.flatnonzero(meet & (count > 0))
    late[has] = (tubes.frame[low[has]] != first[has]) | (tubes.frame[low[has] + count[has] - 1] != last[has])
    return late
