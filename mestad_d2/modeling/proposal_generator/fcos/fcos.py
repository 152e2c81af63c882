"""FCOS as a proposal generator for people (paper, section 3.3); the head runs once a forward.

Shapes: N clips, R locations of all levels.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.base import Candidates, ProposalGenerator
from mestad_d2.modeling.proposal_generator.boxes import BOX_LOSSES
from mestad_d2.modeling.proposal_generator.fcos.head import FCOSHead
from mestad_d2.modeling.proposal_generator.fcos.losses import FCOSLosses
from mestad_d2.modeling.proposal_generator.fcos.targets import FCOSTargets
from mestad_d2.modeling.proposal_generator.locations import distances_to_boxes, pyramid_locations
from mestad_d2.modeling.proposal_generator.select import Selection
from mestad_d2.modeling.proposal_generator.settings import level_shapes, selections


@PROPOSAL_GENERATOR_REGISTRY.register()
class FCOSProposals(ProposalGenerator):
    """Head, targets and losses; candidates are ranked by sqrt(person score x centerness)."""

    @configurable
    def __init__(
        self,
        *,
        in_features: list[str],
        strides: list[int],
        head: nn.Module,
        targets: FCOSTargets,
        losses: FCOSLosses,
        train_selection: Selection,
        test_selection: Selection,
        distances_in_strides: bool = True,
    ) -> None:
        super().__init__(train_selection, test_selection)
        self.in_features, self.strides, self.head = in_features, strides, head
        self.targets, self.losses = targets, losses
        self.distances_in_strides = distances_in_strides

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        fcos = cfg.MODEL.FCOS
        names = list(fcos.IN_FEATURES)
        shapes = level_shapes("MODEL.FCOS.IN_FEATURES", names, input_shape)
        _check(fcos)
        strides = [shape.stride for shape in shapes]
        return {
            "in_features": names,
            "strides": strides,
            "head": FCOSHead(
                shapes[0].channels,
                len(names),
                channels=fcos.CONV_DIM,
                num_convs=fcos.NUM_CONVS,
                norm=fcos.NORM,
                prior_prob=fcos.PRIOR_PROB,
                centerness_on_reg=fcos.CENTERNESS_ON_REG,
                relu_distances=fcos.NORM_REG_TARGETS,
            ),
            "targets": FCOSTargets(
                strides=strides,
                sizes_of_interest=list(fcos.SIZES_OF_INTEREST),
                radius=fcos.CENTER_SAMPLING_RADIUS if fcos.CENTER_SAMPLING else None,
            ),
            "losses": FCOSLosses(
                alpha=fcos.FOCAL_ALPHA,
                gamma=fcos.FOCAL_GAMMA,
                box_loss=fcos.LOC_LOSS,
                centerness_target=fcos.CENTERNESS_TARGET,
                weight=fcos.LOSS_WEIGHT,
            ),
            **selections(cfg),
            "distances_in_strides": fcos.NORM_REG_TARGETS,
        }

    def candidates(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None
    ) -> tuple[Candidates, dict[str, Tensor]]:
        """Return one candidate per location, and in training the losses."""
        maps = [features[name] for name in self.in_features]
        points, levels = pyramid_locations([tuple(x.shape[-2:]) for x in maps], self.strides, maps[0].device)
        logits, distances, centerness = self.head(maps)
        if self.distances_in_strides:
            distances = distances * torch.tensor(self.strides, device=points.device)[levels][:, None]
        losses = {}
        if self.training:
            boxes, index = self._assign(points, levels, gt_instances)
            losses = self.losses(logits, distances, centerness, points, boxes, index)
        with torch.no_grad():
            scores = logits.sigmoid()
            rank = (scores * centerness.sigmoid()).sqrt()
            decoded = distances_to_boxes(points, distances)
        return Candidates(decoded, scores, rank, levels), losses

    @torch.no_grad()
    def _assign(self, points: Tensor, levels: Tensor, gt_instances: list[Instances]) -> tuple[Tensor, Tensor]:
        """Box (N, R, 4) and index of it (N, R), -1 for background, of every location."""
        all_boxes, all_index = [], []
        for gt in gt_instances:
            boxes = gt.gt_boxes.tensor.to(points)
            index = self.targets.assign(points, levels, boxes)
            padded = boxes if len(boxes) else boxes.new_zeros(1, 4)
            all_boxes.append(padded[index.clamp(min=0)])
            all_index.append(index)
        return torch.stack(all_boxes), torch.stack(all_index)


def _check(fcos: CfgNode) -> None:
    names, sizes = list(fcos.IN_FEATURES), list(fcos.SIZES_OF_INTEREST)
    if len(sizes) not in (len(names) - 1, len(names)) or sizes != sorted(set(sizes)):
        raise UserError(
            f"MODEL.FCOS.SIZES_OF_INTEREST {sizes}: {len(names)} levels need {len(names) - 1} rising sizes, "
            "or one more to end the last level's range"
        )
    if fcos.LOC_LOSS not in BOX_LOSSES:
        raise UserError(f"MODEL.FCOS.LOC_LOSS {fcos.LOC_LOSS!r}: give one of {sorted(BOX_LOSSES)}")
    if fcos.CENTERNESS_TARGET not in ("centerness", "iou"):
        raise UserError(
            f'MODEL.FCOS.CENTERNESS_TARGET {fcos.CENTERNESS_TARGET!r}: give "centerness" or "iou"'
        )
