"""Losses of the person head (paper, Eq. 1): focal, IoU of boxes, and centerness."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from fvcore.nn import sigmoid_focal_loss
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from mestad_d2.modeling.proposal_generator.fcos.targets import centerness_of
from mestad_d2.modeling.proposal_generator.locations import boxes_to_distances, distances_to_boxes
from mestad_d2.modeling.proposal_generator.tower import mean_over_ranks


def aligned_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (R,) of boxes (R, 4) with their partners (R, 4)."""
    inter = (torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    area = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(dim=1) + (b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1)
    return inter / (area - inter).clamp(min=1e-7)


def iou_log_loss(a: Tensor, b: Tensor) -> Tensor:
    """-log IoU (R,), plain FCOS's box loss."""
    return -aligned_iou(a, b).clamp(min=1e-6).log()


# torchvision's GIoU and not fvcore's: that one asserts on NaN, before the trainer can act on a loss that
# is not finite. Reduction "none" is its default.
BOX_LOSSES = {"giou": generalized_box_iou_loss, "iou": iou_log_loss}


@dataclass(frozen=True)
class FCOSLosses:
    """Focal loss over all locations; box and centerness losses over the positive ones."""

    alpha: float = 0.25
    gamma: float = 2.0
    box_loss: str = "giou"
    centerness_target: str = "centerness"
    weight: float = 1.0

    def __call__(
        self,
        logits: Tensor,
        distances: Tensor,
        centerness: Tensor,
        points: Tensor,
        target_boxes: Tensor,
        index: Tensor,
    ) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            logits, centerness: (N, R); distances: (N, R, 4) in pixels; points: (R, 2).
            target_boxes: (N, R, 4), any value at background locations; index: (N, R), -1 for background.
        """
        positive = index >= 0
        count = mean_over_ranks(positive.sum().float())
        focal = sigmoid_focal_loss(
            logits, positive.float(), alpha=self.alpha, gamma=self.gamma, reduction="sum"
        )
        points = points.expand(len(logits), -1, -1)[positive]
        targets, predicted = target_boxes[positive], distances_to_boxes(points, distances[positive])
        quality = centerness_of(boxes_to_distances(points, targets))
        # Boxes count by how central their location is (FCOS), whatever the centerness branch learns.
        total = mean_over_ranks(quality.sum(), minimum=1e-6)
        box = (BOX_LOSSES[self.box_loss](predicted, targets) * quality).sum()
        wanted = aligned_iou(predicted, targets).detach() if self.centerness_target == "iou" else quality
        ctr = F.binary_cross_entropy_with_logits(centerness[positive], wanted, reduction="sum")
        return {
            "loss_fcos_cls": self.weight * focal / count,
            "loss_fcos_loc": self.weight * box / total,
            "loss_fcos_ctr": self.weight * ctr / count,
        }
