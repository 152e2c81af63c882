"""GFocalV2, anchor-based, as proposal generator (paper, Table 2; Generalized Focal Loss V2).

Shapes: N clips, R cells of all levels with one square anchor each, M = largest distance in strides.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY
from detectron2.structures import ImageList, Instances
from torch import Tensor

from mestad_d2.modeling.proposal_generator.base import Candidates, ProposalGenerator
from mestad_d2.modeling.proposal_generator.boxes import BOX_LOSSES, aligned_iou
from mestad_d2.modeling.proposal_generator.gfocal.atss import atss_assign
from mestad_d2.modeling.proposal_generator.gfocal.head import GFocalHead
from mestad_d2.modeling.proposal_generator.gfocal.losses import distribution_focal_loss, quality_focal_loss
from mestad_d2.modeling.proposal_generator.locations import (
    boxes_to_distances,
    distances_to_boxes,
    pyramid_locations,
)
from mestad_d2.modeling.proposal_generator.select import Selection
from mestad_d2.modeling.proposal_generator.settings import level_shapes, selections
from mestad_d2.modeling.proposal_generator.tower import mean_over_ranks


@PROPOSAL_GENERATOR_REGISTRY.register()
class GFocalProposals(ProposalGenerator):
    """Head, ATSS assignment and the three losses; one score combines class and quality."""

    @configurable
    def __init__(
        self,
        *,
        in_features: list[str],
        strides: list[int],
        head: GFocalHead,
        anchor_scale: float,
        atss_topk: int,
        beta: float,
        weights: tuple[float, float, float],
        train_selection: Selection,
        test_selection: Selection,
    ) -> None:
        super().__init__(train_selection, test_selection)
        self.in_features, self.strides, self.head = in_features, strides, head
        self.anchor_scale, self.atss_topk = anchor_scale, atss_topk
        self.beta, self.weights = beta, weights

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        own, fcos = cfg.MODEL.GFOCAL, cfg.MODEL.FCOS
        names = list(fcos.IN_FEATURES)
        shapes = level_shapes("MODEL.FCOS.IN_FEATURES", names, input_shape)
        return {
            "in_features": names,
            "strides": [shape.stride for shape in shapes],
            "head": GFocalHead(
                shapes[0].channels,
                len(names),
                channels=fcos.CONV_DIM,
                num_convs=fcos.NUM_CONVS,
                norm=fcos.NORM,
                prior_prob=fcos.PRIOR_PROB,
                reg_max=own.REG_MAX,
                quality_topk=own.QUALITY_TOPK,
                quality_dim=own.QUALITY_DIM,
            ),
            "anchor_scale": own.ANCHOR_SCALE,
            "atss_topk": own.ATSS_TOPK,
            "beta": own.QFL_BETA,
            "weights": (own.QFL_WEIGHT, own.LOC_WEIGHT, own.DFL_WEIGHT),
            **selections(cfg),
        }

    def candidates(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None
    ) -> tuple[Candidates, dict[str, Tensor]]:
        """Return one candidate per cell, ranked by its score, and in training the losses."""
        maps = [features[name] for name in self.in_features]
        points, levels = pyramid_locations([tuple(x.shape[-2:]) for x in maps], self.strides, maps[0].device)
        strides = torch.tensor(self.strides, dtype=points.dtype, device=points.device)[levels]
        scores, distributions = self.head(maps)
        steps = torch.arange(self.head.reg_max + 1, dtype=points.dtype, device=points.device)
        distances = (distributions.softmax(dim=-1) * steps).sum(dim=-1) * strides[:, None]
        boxes = distances_to_boxes(points, distances)
        losses = {}
        if self.training:
            half = strides[:, None] * self.anchor_scale / 2
            anchors = torch.cat([points - half, points + half], dim=1)
            index = [self._assign(anchors, levels, gt) for gt in gt_instances]
            losses = self.losses(
                scores, distributions, boxes, points, strides, gt_instances, torch.stack(index)
            )
        return Candidates(boxes, scores, scores, levels), losses

    def _assign(self, anchors: Tensor, levels: Tensor, gt: Instances) -> Tensor:
        return atss_assign(anchors, levels, gt.gt_boxes.tensor.to(anchors), self.atss_topk)

    def losses(
        self,
        scores: Tensor,
        distributions: Tensor,
        boxes: Tensor,
        points: Tensor,
        strides: Tensor,
        gt_instances: list[Instances],
        index: Tensor,
    ) -> dict[str, Tensor]:
        """Compute quality focal loss of all cells; GIoU and distribution focal loss of the positive ones.

        The first is divided by the number of positives; the others are weighted by the cell's score
        and divided by the sum of these weights.

        Args:
            scores: (N, R); distributions: (N, R, 4, M + 1); boxes: (N, R, 4) predicted, in pixels.
            points: (R, 2), in pixels; strides: (R,).
            gt_instances: per clip, with ``gt_boxes``.
            index: (N, R), the box of each cell, -1 for background.
        """
        positive = index >= 0
        wanted = torch.cat(
            [gt.gt_boxes.tensor.to(boxes)[i[i >= 0]] for gt, i in zip(gt_instances, index, strict=True)]
        )
        predicted, weights = boxes[positive], scores[positive].detach()
        quality = torch.zeros_like(scores)
        quality[positive] = aligned_iou(predicted.detach(), wanted)
        classification = quality_focal_loss(scores, quality, self.beta).sum()

        points, strides = (x.expand(len(index), *x.shape)[positive] for x in (points, strides))
        # Longer distances are clamped to the largest one.
        distances = (boxes_to_distances(points, wanted) / strides[:, None]).clamp(0, self.head.reg_max)
        sides = distribution_focal_loss(distributions[positive], distances).mean(dim=1)
        count = mean_over_ranks(positive.sum().float())
        weight_sum = mean_over_ranks(weights.sum(), minimum=1e-6)
        qfl, loc, dfl = self.weights
        return {
            "loss_gfocal_cls": qfl * classification / count,
            "loss_gfocal_loc": loc * (BOX_LOSSES["giou"](predicted, wanted) * weights).sum() / weight_sum,
            "loss_gfocal_dfl": dfl * (sides * weights).sum() / weight_sum,
        }
