"""From scored boxes to proposals, for every dense head alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torchvision.ops import clip_boxes_to_image, nms


@dataclass(frozen=True)
class Selection:
    """Which boxes become proposals.

    Attributes:
        score_thresh: class score that a box must exceed.
        nms_thresh: IoU above which the lower ranked of two boxes goes; 1.0 or more: no NMS.
        pre_nms_topk: boxes kept a level before NMS.
        post_nms_topk: proposals kept a picture.
    """

    score_thresh: float
    nms_thresh: float
    pre_nms_topk: int
    post_nms_topk: int


@torch.no_grad()
def select_proposals(
    boxes: Tensor,
    scores: Tensor,
    rank: Tensor,
    level_sizes: Sequence[int],
    image_sizes: Sequence[tuple[int, int]],
    selection: Selection,
) -> list[Instances]:
    """Threshold by class score, rank and suppress by ``rank``.

    Args:
        boxes: (N, L, 4) in pixels; they may leave the picture.
        scores: (N, L), class scores in [0, 1].
        rank: (N, L), what orders boxes, in [0, 1] (FCOS: sqrt(class x centerness)).
        level_sizes: points of each level; sums to L.
        image_sizes: (height, width) of each picture without padding.

    Returns:
        per picture, Instances in falling order of rank, with ``proposal_boxes`` (clipped, not empty),
        ``objectness_logits`` (the rank) and ``scores``; all detached.
    """
    # Comparisons with NaN are false, so boxes without a finite score never pass.
    usable = torch.where(scores > selection.score_thresh, rank, rank.new_tensor(-1.0))
    kept, start = [], 0
    for size in level_sizes:
        _, index = usable[:, start : start + size].topk(min(selection.pre_nms_topk, size), dim=1)
        kept.append(index + start)
        start += size
    index = torch.cat(kept, dim=1)
    return [
        _select_one(boxes[i, index[i]], scores[i, index[i]], usable[i, index[i]], image_size, selection)
        for i, image_size in enumerate(image_sizes)
    ]


def _select_one(
    boxes: Tensor, scores: Tensor, rank: Tensor, image_size: tuple[int, int], selection: Selection
) -> Instances:
    boxes = clip_boxes_to_image(boxes.detach(), tuple(image_size))
    keep = (rank >= 0) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    boxes, scores, rank = boxes[keep], scores[keep].detach(), rank[keep].detach()
    if selection.nms_thresh < 1.0:
        order = nms(boxes, rank, selection.nms_thresh)
    else:
        order = rank.argsort(descending=True, stable=True)
    order = order[: selection.post_nms_topk]
    return Instances(
        tuple(image_size),
        proposal_boxes=Boxes(boxes[order]),
        objectness_logits=rank[order],
        scores=scores[order],
    )
