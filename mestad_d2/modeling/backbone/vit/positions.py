"""Fixed positions of a grid of tokens, for clips of any size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Grid = tuple[int, int, int]


def sinusoid_table(count: int, width: int) -> Tensor:
    """Compute sines and cosines of ``count`` positions (count, width), as in "Attention is all you need"."""
    channel = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(count, dtype=torch.float64)[:, None] / 10000 ** ((channel - channel % 2) / width)
    return torch.where(torch.arange(width) % 2 == 0, angle.sin(), angle.cos()).float()


def resize_positions(table: Tensor, made_for: Grid, grid: Grid) -> Tensor:
    """Resize positions of shape (T * H * W, C) from another grid to (1, t * h * w, C) of ``grid``.

    Bicubic in space, as mmaction2 does, then linear in time; the same grid is left as it is.
    """
    if grid == made_for:
        return table.unsqueeze(0)
    maps = table.unflatten(0, made_for).permute(0, 3, 1, 2)
    if grid[1:] != made_for[1:]:
        maps = F.interpolate(maps, size=grid[1:], mode="bicubic", align_corners=False)
    lines = maps.permute(2, 3, 1, 0)
    if grid[0] != made_for[0]:
        lines = F.interpolate(lines.flatten(0, 1), size=grid[0], mode="linear", align_corners=False)
        lines = lines.unflatten(0, grid[1:])
    return lines.permute(3, 0, 1, 2).flatten(0, 2).unsqueeze(0)
