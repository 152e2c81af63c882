"""Adaptive training sample selection (ATSS, algorithm 1)."""

from __future__ import annotations

import torch
from detectron2.structures import Boxes, pairwise_iou
from torch import Tensor


@torch.no_grad()
def atss_assign(anchors: Tensor, levels: Tensor, boxes: Tensor, topk: int = 9) -> Tensor:
    """Index of the box that each anchor learns.

    The candidates of a box are, on each level, the ``topk`` anchors whose centres are nearest to its
    own. Those whose IoU with it reaches mean + standard deviation of the candidates' and whose centre
    lies inside the box are its positives. An anchor that is positive for several boxes goes to the one
    of largest IoU.

    Args:
        anchors: (R, 4) and boxes: (G, 4), in pixels.
        levels: (R,), level of each anchor.
        topk: candidates a level.

    Returns:
        (R,) int64, -1 for background.
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    iou = pairwise_iou(Boxes(boxes), Boxes(anchors))  # G, R
    centers, own = (anchors[:, :2] + anchors[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2
    # Not torch.cdist: its matrix product rounds, so that equal distances differ.
    distance = (own[:, None] - centers[None]).square().sum(dim=2)
    candidates = []
    for level in levels.unique():
        members = (levels == level).nonzero().squeeze(1)
        nearest = distance[:, members].topk(min(topk, len(members)), dim=1, largest=False).indices
        candidates.append(members[nearest])
    candidates = torch.cat(candidates, dim=1)  # G, C
    overlap = iou.gather(1, candidates)
    # A single candidate has no deviation; ddof 1 would give NaN.
    deviation = overlap.std(dim=1) if overlap.shape[1] > 1 else torch.zeros_like(overlap[:, 0])
    chosen = overlap >= (overlap.mean(dim=1) + deviation)[:, None]
    points = centers[candidates]  # G, C, 2
    chosen &= ((points > boxes[:, None, :2]) & (points < boxes[:, None, 2:])).all(dim=2)
    claims = torch.full_like(iou, -1.0).scatter(1, candidates, torch.where(chosen, overlap, -1.0))
    best, index = claims.max(dim=0)
    return torch.where(best >= 0, index, torch.full_like(index, -1))
