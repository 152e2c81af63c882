"""RPN and a Fast R-CNN head as proposal generator (paper, Table 2), of detectron2's own parts."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY, RPN
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import ImageList, Instances
from torch import Tensor

from mestad_d2.modeling.proposal_generator.base import Candidates, ProposalGenerator
from mestad_d2.modeling.proposal_generator.select import Selection
from mestad_d2.modeling.proposal_generator.settings import level_shapes, selections


def _as_persons(gt: Instances) -> Instances:
    """Boxes and classes alone: the sampler would copy every other field to each proposal."""
    classes = torch.zeros(len(gt), dtype=torch.int64, device=gt.gt_boxes.device)
    return Instances(gt.image_size, gt_boxes=gt.gt_boxes, gt_classes=classes)


@PROPOSAL_GENERATOR_REGISTRY.register()
class RPNRCNNProposals(ProposalGenerator):
    """Two stages; the keys are detectron2's MODEL.RPN, MODEL.ROI_HEADS and MODEL.ROI_BOX_HEAD.

    In training the action head gets the refined boxes of those RPN boxes that the second stage
    samples, from the same run that gives the losses.
    """

    @configurable
    def __init__(
        self, *, rpn: RPN, box_heads: StandardROIHeads, train_selection: Selection, test_selection: Selection
    ) -> None:
        super().__init__(train_selection, test_selection)
        self.rpn = rpn
        self.box_heads = box_heads

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        level_shapes("MODEL.RPN.IN_FEATURES", cfg.MODEL.RPN.IN_FEATURES, input_shape)
        level_shapes("MODEL.ROI_HEADS.IN_FEATURES", cfg.MODEL.ROI_HEADS.IN_FEATURES, input_shape)
        one_class = cfg.clone()
        one_class.defrost()
        one_class.MODEL.ROI_HEADS.NUM_CLASSES = 1
        return {
            "rpn": RPN(cfg, input_shape),
            "box_heads": StandardROIHeads(one_class, input_shape),
            **selections(cfg),
        }

    def candidates(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None
    ) -> tuple[Candidates, dict[str, Tensor]]:
        """Return the second stage's boxes, ranked by person score, and in training the losses of both stages."""
        persons = [_as_persons(gt) for gt in gt_instances] if self.training else None
        regions, losses = self.rpn(images, features, persons)
        if self.training:
            regions = self.box_heads.label_and_sample_proposals(regions, persons)
        predictions = self._second_stage(features, regions)
        predictor = self.box_heads.box_predictor
        if self.training:
            second = predictor.losses(predictions, regions)
            losses = {**losses, "loss_rcnn_cls": second["loss_cls"], "loss_rcnn_loc": second["loss_box_reg"]}
        with torch.no_grad():
            boxes = predictor.predict_boxes(predictions, regions)
            scores = [probabilities[:, 0] for probabilities in predictor.predict_probs(predictions, regions)]
        return Candidates(boxes, scores, scores), losses

    def _second_stage(self, features: dict[str, Tensor], regions: list[Instances]) -> tuple[Tensor, Tensor]:
        heads = self.box_heads
        maps = [features[name] for name in heads.box_in_features]
        pooled = heads.box_pooler(maps, [region.proposal_boxes for region in regions])
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        return logits.float(), deltas.float()
