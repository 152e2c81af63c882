"""One-to-one match of proposals and people, and the loss on it (Sparse R-CNN; DETR's set loss).

Shapes: Q proposals and G people of one clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from fvcore.nn import sigmoid_focal_loss
from torch import Tensor
from torchvision.ops import generalized_box_iou

from mestad_d2.modeling.proposal_generator.boxes import BOX_LOSSES

ALPHA, GAMMA = 0.25, 2.0


@dataclass(frozen=True)
class SetLoss:
    """Weights of the three terms, the same in the match and in the loss."""

    cls: float = 2.0
    l1: float = 5.0
    giou: float = 2.0

    @torch.no_grad()
    def match(self, logits: Tensor, boxes: Tensor, targets: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Find the cheapest assignment of each person to a proposal of its own.

        The class term is what the focal loss changes by when the proposal becomes a person.

        Args:
            logits: (Q,); boxes: (Q, 4) and targets: (G, 4), in pixels.
            size: (4,), width, height, width, height of the clip, by which L1 is divided.

        Returns:
            indices of proposals and of people, both (min(Q, G),).
        """
        ones = torch.ones_like(logits)
        gain = sigmoid_focal_loss(logits, ones, ALPHA, GAMMA) - sigmoid_focal_loss(
            logits, 0 * ones, ALPHA, GAMMA
        )
        distance = (boxes[:, None] / size - targets[None] / size).abs().sum(dim=2)
        cost = self.cls * gain[:, None] + self.l1 * distance - self.giou * generalized_box_iou(boxes, targets)
        # NaN must reach the loss, where the trainer acts on it; SciPy would raise.
        # Imported here, so that programs start faster.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(cost.nan_to_num(nan=1e6).cpu().numpy())
        return tuple(torch.as_tensor(index, device=logits.device) for index in (rows, columns))

    def __call__(self, logits: Tensor, boxes: Tensor, targets: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Compute weighted sums over the clip: focal loss of all proposals, L1 and GIoU of the matched ones."""
        rows, columns = self.match(logits.detach(), boxes.detach(), targets, size)
        person = torch.zeros_like(logits)
        person[rows] = 1.0
        focal = sigmoid_focal_loss(logits, person, ALPHA, GAMMA, reduction="sum")
        matched, wanted = boxes[rows], targets[columns]
        l1 = (matched / size - wanted / size).abs().sum()
        return self.cls * focal, self.l1 * l1, self.giou * BOX_LOSSES["giou"](matched, wanted).sum()
