"""Points of a pyramid and distances from points to the sides of boxes; pure functions.

L: points of all levels; G: boxes. Boxes are x1, y1, x2, y2 and distances left, top, right, bottom, in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def level_points(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Centres of the cells of an (H, W) map as x, y in pixels: (H * W, 2), row by row.

    The first one lies half a stride inside the picture (FCOS; detectron2's anchors default to offset 0).
    """
    ys = (torch.arange(size[0], device=device, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(size[1], device=device, dtype=torch.float32) + 0.5) * stride
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([x.reshape(-1), y.reshape(-1)], dim=1)


def per_point(values: Sequence[float], level_sizes: Sequence[int], device: torch.device) -> Tensor:
    """Repeat one value a level for each of its points: (L,)."""
    return torch.cat(
        [
            torch.full((size,), float(value), device=device)
            for value, size in zip(values, level_sizes, strict=True)
        ]
    )


def distances_to_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Signed distances from points (..., 2) to the sides of boxes (..., 4), broadcast: (..., 4).

    All four are positive where the point is inside.
    """
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def boxes_from_distances(points: Tensor, distances: Tensor) -> Tensor:
    """Inverse of ``distances_to_boxes``: (..., 2) and (..., 4) -> (..., 4)."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def flatten_level(output: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H * W, C), points in the order of ``level_points``."""
    return output.flatten(2).transpose(1, 2)
