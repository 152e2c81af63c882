"""Overlap of boxes x1, y1, x2, y2 in numpy: every IoU of the package that needs no gradient."""

from __future__ import annotations

import numpy as np


def box_area(boxes: np.ndarray) -> np.ndarray:
    """Return the area (N,) of boxes (N, 4); negative where one pair of edges is swapped."""
    return (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 2] - boxes[:, 0])


def paired_iou(
    a: np.ndarray, b: np.ndarray, area_a: np.ndarray | None = None, area_b: np.ndarray | None = None
) -> np.ndarray:
    """Compute the IoU (N,) of boxes (N, 4) with their partners (N, 4), in float64; 0 where both have no area.

    Adds and multiplies in the order of the published AVA evaluators, so that ties fall as theirs do.

    Args:
        area_a, area_b: (N,) areas, where they are known more exactly than from the corners.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    width = np.maximum(0.0, np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]))
    height = np.maximum(0.0, np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]))
    inter = height * width
    area_a = box_area(a) if area_a is None else area_a
    area_b = box_area(b) if area_b is None else area_b
    # A sliver whose area underflows to zero gives 0 / 0: no overlap.
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(inter / (area_a + area_b - inter), nan=0.0)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the IoU of two boxes (4,); 0 where both have no area."""
    return float(paired_iou(np.asarray(a)[None], np.asarray(b)[None])[0])


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the IoU (N, M) of boxes (N, 4) and (M, 4), in float64; 0 where both have no area."""
    inter, union, _ = _overlap(a, b)
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def pairwise_giou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the generalised IoU (N, M) in [-1, 1] of boxes (N, 4) and (M, 4), in float64."""
    inter, union, hull = _overlap(a, b)
    tiny = np.finfo(np.float64).tiny
    return inter / np.maximum(union, tiny) - (hull - union) / np.maximum(hull, tiny)


def _overlap(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas (N, M) of the intersection, the union and the smallest box around both."""
    a = np.asarray(a, dtype=np.float64).reshape(-1, 4)
    b = np.asarray(b, dtype=np.float64).reshape(-1, 4)
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    hull = (np.maximum(a[:, None, 2:], b[None, :, 2:]) - np.minimum(a[:, None, :2], b[None, :, :2])).prod(-1)
    return inter, box_area(a)[:, None] + box_area(b)[None] - inter, hull
