"""Assignment of persons to locations (FCOS, with or without centre sampling).

Shapes: R locations of all levels, G ground-truth boxes of one clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mestad_d2.modeling.proposal_generator.locations import boxes_to_distances


@dataclass(frozen=True)
class FCOSTargets:
    """Rules of the assignment.

    Attributes:
        strides: pixels a cell, of every level.
        sizes_of_interest: upper ends, in pixels, of the levels' ranges of the largest distance; the last
            level is open, unless there is an end for it too.
        radius: of centre sampling, in strides; None: every location inside a box is a candidate.
    """

    strides: Sequence[int]
    sizes_of_interest: Sequence[float]
    radius: float | None = 1.5

    @torch.no_grad()
    def assign(self, points: Tensor, levels: Tensor, boxes: Tensor) -> Tensor:
        """Index of the box that every location learns, -1 for background; the smallest box wins.

        Args:
            points: (R, 2); levels: (R,); boxes: (G, 4), in pixels.
        """
        if len(boxes) == 0:
            return torch.full((len(points),), -1, dtype=torch.long, device=points.device)
        distances = boxes_to_distances(points[:, None], boxes[None])
        strides = torch.tensor(self.strides, dtype=points.dtype, device=points.device)[levels]
        candidates = self._inside(points, strides, boxes, distances) & self._in_range(levels, distances)
        areas = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).expand(len(points), -1)
        smallest, index = areas.masked_fill(~candidates, float("inf")).min(dim=1)
        return torch.where(torch.isfinite(smallest), index, torch.full_like(index, -1))

    def _inside(self, points: Tensor, strides: Tensor, boxes: Tensor, distances: Tensor) -> Tensor:
        inside = distances.amin(dim=-1) > 0
        if self.radius is None:
            return inside
        # The centre region is cut to the box, so a centre-sampled location always lies inside it.
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        offset = (points[:, None] - centres[None]).abs().amax(dim=-1)
        return inside & (offset < self.radius * strides[:, None])

    def _in_range(self, levels: Tensor, distances: Tensor) -> Tensor:
        ends = distances.new_tensor([-1.0, *self.sizes_of_interest, float("inf")])
        largest = distances.amax(dim=-1)
        return (largest >= ends[levels][:, None]) & (largest <= ends[levels + 1][:, None])


def centerness_of(distances: Tensor) -> Tensor:
    """Compute FCOS's centerness (...) of distances l, t, r, b (..., 4), in [0, 1]."""
    horizontal, vertical = distances[..., [0, 2]], distances[..., [1, 3]]
    ratio = (horizontal.amin(-1) / horizontal.amax(-1)) * (vertical.amin(-1) / vertical.amax(-1))
    return ratio.clamp(min=0).sqrt()
