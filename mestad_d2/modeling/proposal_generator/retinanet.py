"""RetinaNet as proposal generator (paper, Table 2), of detectron2's own parts.

Shapes: N clips, R anchors of all levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_anchor_generator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY
from detectron2.structures import Boxes, ImageList, Instances, pairwise_iou
from fvcore.nn import sigmoid_focal_loss, smooth_l1_loss
from torch import Tensor, nn

from mestad_d2.modeling.proposal_generator.base import Candidates, ProposalGenerator
from mestad_d2.modeling.proposal_generator.select import Selection
from mestad_d2.modeling.proposal_generator.settings import level_shapes, selections
from mestad_d2.modeling.proposal_generator.tower import group_norm, mean_over_ranks


def flatten_anchors(maps: Sequence[Tensor], size: int) -> Tensor:
    """Flatten each level (N, A * size, H, W) to (N, R, size), in the order of detectron2's anchors; float32."""
    flat = [x.unflatten(1, (-1, size)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in maps]
    return torch.cat(flat, dim=1).float()


@PROPOSAL_GENERATOR_REGISTRY.register()
class RetinaNetProposals(ProposalGenerator):
    """One-stage, anchor-based; the keys are detectron2's MODEL.RETINANET and MODEL.ANCHOR_GENERATOR.

    Different from detectron2's RetinaNet: one class, and losses divided by this batch's number of
    positive anchors instead of a running mean, as in the RetinaNet paper.
    """

    @configurable
    def __init__(
        self,
        *,
        in_features: list[str],
        head: nn.Module,
        anchor_generator: nn.Module,
        box2box_transform: Box2BoxTransform,
        anchor_matcher: Matcher,
        focal_alpha: float,
        focal_gamma: float,
        smooth_l1_beta: float,
        train_selection: Selection,
        test_selection: Selection,
    ) -> None:
        super().__init__(train_selection, test_selection)
        self.in_features = in_features
        self.head = head
        self.anchor_generator = anchor_generator
        self.box2box_transform = box2box_transform
        self.anchor_matcher = anchor_matcher
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma
        self.smooth_l1_beta = smooth_l1_beta

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        retina = cfg.MODEL.RETINANET
        names = list(retina.IN_FEATURES)
        shapes = level_shapes("MODEL.RETINANET.IN_FEATURES", names, input_shape)
        anchor_generator = build_anchor_generator(cfg, shapes)
        return {
            "in_features": names,
            "head": RetinaNetHead(
                input_shape=shapes,
                num_classes=1,
                num_anchors=anchor_generator.num_anchors[0],
                conv_dims=[shapes[0].channels] * retina.NUM_CONVS,
                norm=group_norm if retina.NORM == "GN" else retina.NORM,
                prior_prob=retina.PRIOR_PROB,
            ),
            "anchor_generator": anchor_generator,
            "box2box_transform": Box2BoxTransform(weights=retina.BBOX_REG_WEIGHTS),
            "anchor_matcher": Matcher(
                retina.IOU_THRESHOLDS, retina.IOU_LABELS, allow_low_quality_matches=True
            ),
            "focal_alpha": retina.FOCAL_LOSS_ALPHA,
            "focal_gamma": retina.FOCAL_LOSS_GAMMA,
            "smooth_l1_beta": retina.SMOOTH_L1_LOSS_BETA,
            **selections(cfg),
        }

    def candidates(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None
    ) -> tuple[Candidates, dict[str, Tensor]]:
        """Return one candidate per anchor, ranked by class score, and in training the losses."""
        maps = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(maps)
        levels = torch.cat([boxes.tensor.new_full((len(boxes),), i) for i, boxes in enumerate(anchors)])
        anchors = Boxes.cat(anchors)
        raw_logits, raw_deltas = self.head(maps)
        logits, deltas = flatten_anchors(raw_logits, 1).squeeze(2), flatten_anchors(raw_deltas, 4)
        losses = self.losses(logits, deltas, anchors, gt_instances) if self.training else {}
        with torch.no_grad():
            scores = logits.sigmoid()
            boxes = [self.box2box_transform.apply_deltas(clip, anchors.tensor) for clip in deltas]
        return Candidates(boxes, scores, scores, levels), losses

    def losses(
        self, logits: Tensor, deltas: Tensor, anchors: Boxes, gt_instances: list[Instances]
    ) -> dict[str, Tensor]:
        """Compute focal loss of all anchors but the ignored, smooth L1 of the positives' deltas.

        Args:
            logits: (N, R); deltas: (N, R, 4); anchors: R boxes.
        """
        labels, boxes = zip(*[self._assign(anchors, gt) for gt in gt_instances], strict=True)
        labels, boxes = torch.stack(labels), torch.stack(boxes)
        positive, counted = labels == 1, labels >= 0
        count = mean_over_ranks(positive.sum().float())
        focal = sigmoid_focal_loss(
            logits[counted],
            positive[counted].float(),
            alpha=self.focal_alpha,
            gamma=self.focal_gamma,
            reduction="sum",
        )
        sources = anchors.tensor.expand(len(labels), -1, -1)[positive]
        wanted = self.box2box_transform.get_deltas(sources, boxes[positive])
        regression = smooth_l1_loss(deltas[positive], wanted, beta=self.smooth_l1_beta, reduction="sum")
        return {"loss_retina_cls": focal / count, "loss_retina_loc": regression / count}

    @torch.no_grad()
    def _assign(self, anchors: Boxes, gt: Instances) -> tuple[Tensor, Tensor]:
        """Label (R,): 1 person, 0 background, -1 ignored; and the matched box (R, 4)."""
        index, labels = self.anchor_matcher(pairwise_iou(gt.gt_boxes, anchors))
        if len(gt) == 0:
            return torch.zeros_like(labels), torch.zeros_like(anchors.tensor)
        return labels, gt.gt_boxes.tensor[index].to(anchors.tensor)
