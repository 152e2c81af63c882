"""Sparse R-CNN as proposal generator (paper, Table 2: the actor head of WOO).

Shapes: N clips, Q learned proposals a clip, C channels.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.base import Candidates, ProposalGenerator
from mestad_d2.modeling.proposal_generator.select import Selection
from mestad_d2.modeling.proposal_generator.settings import level_shapes, selections
from mestad_d2.modeling.proposal_generator.sparse_rcnn.set_loss import SetLoss
from mestad_d2.modeling.proposal_generator.sparse_rcnn.stage import RefineStage
from mestad_d2.modeling.proposal_generator.tower import mean_over_ranks

# Least width and height of a learned box, as a share of the clip's.
MIN_EXTENT = 0.01
LOSS_NAMES = ("loss_sparse_cls", "loss_sparse_l1", "loss_sparse_giou")


@PROPOSAL_GENERATOR_REGISTRY.register()
class SparseRCNNProposals(ProposalGenerator):
    """Learned boxes and features, refined in stages; every stage is trained by the set loss."""

    numbered = True

    @configurable
    def __init__(
        self,
        *,
        in_features: list[str],
        pooler: ROIPooler,
        stages: list[RefineStage],
        num_proposals: int,
        channels: int,
        set_loss: SetLoss,
        train_selection: Selection,
        test_selection: Selection,
    ) -> None:
        super().__init__(train_selection, test_selection)
        self.in_features, self.pooler, self.set_loss = in_features, pooler, set_loss
        self.stages = nn.ModuleList(stages)
        # Centre, width and height as shares of the clip's; at first every proposal is the whole clip.
        self.boxes = nn.Parameter(torch.tensor([0.5, 0.5, 1.0, 1.0]).repeat(num_proposals, 1))
        self.features = nn.Parameter(torch.randn(num_proposals, channels))
        # Weights of Sparse R-CNN.
        self.box2box_transform = Box2BoxTransform(weights=(2.0, 2.0, 1.0, 1.0))

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        own = cfg.MODEL.SPARSE_RCNN
        names = list(own.IN_FEATURES)
        shapes = level_shapes("MODEL.SPARSE_RCNN.IN_FEATURES", names, input_shape)
        channels = shapes[0].channels
        if channels % own.NUM_HEADS:
            raise UserError(
                f"MODEL.SPARSE_RCNN.NUM_HEADS {own.NUM_HEADS}: must divide the FPN's {channels} channels"
            )
        return {
            "in_features": names,
            "pooler": ROIPooler(
                output_size=own.POOLER_RESOLUTION,
                scales=[1.0 / shape.stride for shape in shapes],
                sampling_ratio=own.POOLER_SAMPLING_RATIO,
                pooler_type="ROIAlignV2",
            ),
            "stages": [
                RefineStage(
                    channels,
                    dynamic=own.DYNAMIC_DIM,
                    feedforward=own.FEEDFORWARD_DIM,
                    num_heads=own.NUM_HEADS,
                    num_cls_layers=own.NUM_CLS_LAYERS,
                    num_reg_layers=own.NUM_REG_LAYERS,
                    resolution=own.POOLER_RESOLUTION,
                    prior_prob=own.PRIOR_PROB,
                )
                for _ in range(own.NUM_STAGES)
            ],
            "num_proposals": own.NUM_PROPOSALS,
            "channels": channels,
            "set_loss": SetLoss(own.CLS_WEIGHT, own.L1_WEIGHT, own.GIOU_WEIGHT),
            **selections(cfg),
        }

    def candidates(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None
    ) -> tuple[Candidates, dict[str, Tensor]]:
        """Return the last stage's boxes, ranked by their score, and in training the losses."""
        maps = [features[name] for name in self.in_features]
        sizes = self.boxes.new_tensor([(w, h, w, h) for h, w in images.image_sizes])
        outputs = self.refine(maps, sizes)
        logits, boxes = outputs[-1]
        losses = self.losses(outputs, sizes, gt_instances) if self.training else {}
        scores = logits.detach().sigmoid()
        return Candidates(boxes.detach(), scores, scores), losses

    def refine(self, maps: list[Tensor], sizes: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Run the stages on levels (N, C, H, W); return logits (N, Q) and boxes (N, Q, 4) in pixels of each.

        ``sizes``: (N, 4), width, height, width, height of each clip.
        """
        centers, extents = self.boxes[:, :2], self.boxes[:, 2:].clamp(min=MIN_EXTENT)
        boxes = torch.cat([centers - extents / 2, centers + extents / 2], dim=1) * sizes[:, None]
        state = self.features.expand(len(sizes), -1, -1)
        outputs = []
        for stage in self.stages:
            pooled = self._pool(maps, boxes)
            logits, deltas, state = stage(state, pooled)
            boxes = self.box2box_transform.apply_deltas(deltas.flatten(0, 1), boxes.flatten(0, 1))
            boxes = boxes.view_as(deltas)
            outputs.append((logits, boxes))
            # Gradients do not flow between stages.
            boxes = boxes.detach()
        return outputs

    def _pool(self, maps: list[Tensor], boxes: Tensor) -> Tensor:
        if maps[0].is_meta:
            # Costs are counted on shapes; the level that a box is pooled from would need its value.
            return maps[0].new_empty(
                boxes.shape[0] * boxes.shape[1], maps[0].shape[1], *self.pooler.output_size
            )
        return self.pooler(maps, [Boxes(clip) for clip in boxes])

    def losses(
        self, outputs: list[tuple[Tensor, Tensor]], sizes: Tensor, gt_instances: list[Instances]
    ) -> dict[str, Tensor]:
        """Sum the losses over stages, divided by the number of people.

        Args:
            outputs: per stage, logits (N, Q) and boxes (N, Q, 4) in pixels.
            sizes: (N, 4), width, height, width, height of each clip.
        """
        targets = [gt.gt_boxes.tensor.to(sizes) for gt in gt_instances]
        count = mean_over_ranks(sizes.new_tensor(float(sum(map(len, targets)))))
        terms = [
            torch.stack(self.set_loss(*prediction))
            for logits, boxes in outputs
            for prediction in zip(logits, boxes, targets, sizes, strict=True)
        ]
        return dict(zip(LOSS_NAMES, torch.stack(terms).sum(dim=0) / count, strict=True))
