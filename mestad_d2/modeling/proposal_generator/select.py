"""Select proposals by dense person scores; shared by all dense heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from detectron2.layers import nms
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torchvision.ops import clip_boxes_to_image


@dataclass(frozen=True)
class Selection:
    """Which boxes become proposals.

    Attributes:
        score_thresh: least class score (paper: 0.3 in training, 0.4 in testing).
        nms_thresh: IoU of NMS; 1.0 or more: none (paper: none in training, 0.3 in testing).
        max_boxes: proposals a clip (paper: 100 and 10).
        pre_nms_topk: boxes a level before NMS.
    """

    score_thresh: float
    nms_thresh: float
    max_boxes: int
    pre_nms_topk: int = 1000


@torch.no_grad()
def select_proposals(
    image_size: tuple[int, int],
    boxes: Tensor,
    scores: Tensor,
    rank: Tensor,
    levels: Tensor | None,
    selection: Selection,
    numbered: bool = False,
) -> Instances:
    """Threshold the class score, then sort, keep and suppress by ``rank``.

    Args:
        image_size: height and width of the clip; boxes are cut to it, empty ones dropped.
        boxes: (R, 4) in pixels; scores, rank: (R,) in [0, 1]; levels: (R,), or None for one level.
        numbered: tell each proposal's place among the R, as ``proposal_index``.

    Returns:
        instances with ``proposal_boxes``, ``objectness_logits`` (the rank) and ``scores``, best first.
    """
    keep = (scores > selection.score_thresh).nonzero().squeeze(1)
    order = keep[rank[keep].argsort(descending=True, stable=True)]
    if levels is None:
        order = order[: selection.pre_nms_topk]
    elif len(order) > selection.pre_nms_topk:
        # Best ``pre_nms_topk`` of every level, the order kept.
        best = [order[levels[order] == level][: selection.pre_nms_topk] for level in levels[order].unique()]
        order = torch.cat(best)
        order = order[rank[order].argsort(descending=True, stable=True)]
    # Boxes.clip would assert on NaN, before the trainer can act on a loss that is not finite.
    candidates = Boxes(clip_boxes_to_image(boxes[order], tuple(image_size)))
    order, candidates = order[candidates.nonempty()], candidates[candidates.nonempty()]
    if selection.nms_thresh < 1.0:
        kept = nms(candidates.tensor, rank[order], selection.nms_thresh)[: selection.max_boxes]
    else:
        kept = torch.arange(min(len(order), selection.max_boxes), device=order.device)
    proposals = Instances(image_size)
    proposals.proposal_boxes = candidates[kept]
    proposals.objectness_logits = rank[order[kept]]
    proposals.scores = scores[order[kept]]
    if numbered:
        proposals.proposal_index = order[kept]
    return proposals
