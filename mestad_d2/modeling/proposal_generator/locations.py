"""Locations of a feature pyramid, and boxes as distances from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pyramid_locations(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the centres of all cells, level by level, row by row.

    Args:
        sizes: (H_l, W_l) of every level.
        strides: pixels a cell, of every level.

    Returns:
        x, y in pixels (R, 2), and the index of the level (R,).
    """
    points, levels = [], []
    for level, ((height, width), stride) in enumerate(zip(sizes, strides, strict=True)):
        y, x = torch.meshgrid(
            torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
        )
        # The centre of a cell, half a stride from its corner (FCOS; "offset 0.5").
        points.append((torch.stack([x, y], dim=-1).reshape(-1, 2).float() + 0.5) * stride)
        levels.append(torch.full((height * width,), level, dtype=torch.long, device=device))
    return torch.cat(points), torch.cat(levels)


def distances_to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """Convert distances l, t, r, b (..., R, 4) in pixels from points (R, 2) to boxes x1, y1, x2, y2 (..., R, 4)."""
    left_top = points - distances[..., :2]
    right_bottom = points + distances[..., 2:]
    return torch.cat([left_top, right_bottom], dim=-1)


def boxes_to_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) to distances l, t, r, b from points (..., 2); the inverse of the above."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)
