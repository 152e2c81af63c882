"""Losses of the person head (paper, Eq. 1): focal, IoU of boxes, and centerness."""

from __future__ import annotations

from dataclasses import dataclass

from fvcore.nn import sigmoid_focal_loss
from torch import Tensor
from torch.nn import functional as F

from mestad_d2.modeling.proposal_generator.boxes import BOX_LOSSES, aligned_iou
from mestad_d2.modeling.proposal_generator.fcos.targets import centerness_of
from mestad_d2.modeling.proposal_generator.locations import boxes_to_distances, distances_to_boxes
from mestad_d2.modeling.proposal_generator.tower import mean_over_ranks


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
        """Compute the losses by name.

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
