"""Place labels so that they hide neither each other nor people (greedy, ours)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Cost of a pixel of the label that hides: another label, another person, the person itself.
ON_LABEL, ON_OTHER, ON_OWN = 50.0, 2.0, 0.6
# Cost of a pixel of distance, per pixel of the label's height: far labels need a pointer line.
AWAY = 0.5
# A position near the last one may cost a little more, so that labels jump less.
STAY = 0.75
GRID = 9


def place_labels(
    boxes: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    height: int,
    width: int,
    previous: Sequence[tuple[float, float] | None] | None = None,
    gap: int = 2,
) -> np.ndarray:
    """Place the labels of boxes; return their top left corners.

    Labels are placed one after the other at the candidate that hides least: the corners and sides of
    its own box first, then a grid over the frame, which is what crowded pictures need.

    Args:
        boxes: (N, 4) in pixels.
        sizes: (w, h) of each label, in pixels.
        height: of the frame, in pixels.
        width: of the frame, in pixels.
        previous: offset of each label from its box's corner in the last frame, None for new ones.
        gap: pixels between label and box.

    Returns:
        (N, 2) int, x and y; labels that fit into the frame lie inside it.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    corners = np.zeros((len(boxes), 2), dtype=np.int64)
    taken = np.zeros((0, 4))
    # Small boxes first, as they have the fewest positions.
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for i in np.argsort(areas, kind="stable"):
        w, h = sizes[i]
        spots = _candidates(boxes[i], w, h, height, width, gap)
        labels = np.concatenate([spots, spots + (w, h)], axis=1)
        others = np.delete(boxes, i, axis=0)
        away = _distance(labels, boxes[i])
        cost = (
            ON_LABEL * _overlap(labels, taken)
            + ON_OTHER * _overlap(labels, others)
            + ON_OWN * _overlap(labels, boxes[i : i + 1])
            + AWAY * h * np.maximum(away - gap, 0)
        )
        # The order of the candidates decides where costs are equal.
        cost += np.arange(len(spots)) * 1e-3 * w * h
        if previous is not None and previous[i] is not None:
            moved = np.abs(spots - (boxes[i, :2] + previous[i])).max(axis=1)
            cost = np.where(moved <= h, cost * STAY, cost)
        best = int(cost.argmin())
        corners[i] = spots[best]
        taken = np.concatenate([taken, labels[best : best + 1]])
    return corners


def _candidates(box: np.ndarray, w: int, h: int, height: int, width: int, gap: int) -> np.ndarray:
    x1, y1, x2, y2 = box
    middle = (y1 + y2 - h) / 2
    spots = [
        (x1, y1 - h - gap), (x2 - w, y1 - h - gap),  # above
        (x2 + gap, y1), (x1 - w - gap, y1),  # beside, at the top
        (x1, y2 + gap), (x2 - w, y2 + gap),  # below
        (x2 + gap, middle), (x1 - w - gap, middle), (x2 + gap, y2 - h), (x1 - w - gap, y2 - h),
        (x1, y1), (x2 - w, y1), (x1, y2 - h), (x2 - w, y2 - h),  # inside
    ]  # fmt: skip
    right, bottom = max(width - w, 0), max(height - h, 0)
    xs, ys = np.meshgrid(np.linspace(0, right, GRID), np.linspace(0, bottom, GRID))
    spots = np.concatenate([np.array(spots), np.stack([xs.ravel(), ys.ravel()], axis=1)])
    return np.clip(np.rint(spots), 0, (right, bottom))


def _overlap(labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(K, 4) and (M, 4) -> (K,): pixels of each label that the boxes cover, summed over boxes."""
    a, b = labels[:, None], boxes[None]
    inner = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.clip(inner, 0, None).prod(-1).sum(-1)


def _distance(labels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(K, 4) and (4,) -> (K,): pixels between label and box, 0 where they touch."""
    apart = np.maximum(labels[:, :2] - box[2:], box[:2] - labels[:, 2:])
    return np.clip(apart, 0, None).max(axis=1)
