"""Temporal label assignment: assign key-frame labels to the teacher's persons (paper, Algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou


class TemporalLabelAssigner:
    """Hungarian assignment of persons to the key frames' people, with background (paper, Eq. 6 and 7).

    Shapes: N persons of the teacher, M people of both key frames, A action columns.
    """

    def __init__(self, cost_bce: float = 1.0, cost_l1: float = 1.0, cost_giou: float = 1.0) -> None:
        """Weights of the three costs (paper: 1, 1, 1)."""
        self.cost_bce, self.cost_l1, self.cost_giou = cost_bce, cost_l1, cost_giou

    @torch.no_grad()
    def __call__(
        self, boxes: Tensor, scores: Tensor, gt_boxes: Tensor, gt_labels: Tensor, image_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Find the assignment of least total cost; each key-frame person is used at most once.

        Args:
            boxes: (N, 4) x1, y1, x2, y2 in pixels; scores: (N, A) in [0, 1].
            gt_boxes: (M, 4); gt_labels: (M, A), 0 or 1; M may be 0.
            image_size: height and width of the clip in pixels.

        Returns:
            index (N,) int64 into the people, -1 for background, and the cost (N,) float32 of each choice,
            on the device of ``boxes``.

        Raises:
            ValueError: scores are NaN or outside [0, 1], or boxes are not finite.
        """
        # Only a few rows: the CPU is faster than a dozen kernel launches, and float64 keeps ties exact.
        cost = self.costs(
            *(x.detach().cpu().double() for x in (boxes, scores, gt_boxes, gt_labels)), image_size
        )
        # Imported here, so that programs start faster.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(cost.numpy())
        rows, columns = torch.from_numpy(rows), torch.from_numpy(columns)
        # Rows come sorted, and the matrix has at least as many columns as rows, so every person gets one.
        index = torch.where(columns < len(gt_boxes), columns, torch.full_like(columns, -1))
        return index.to(boxes.device), cost[rows, columns].float().to(boxes.device)

    def costs(
        self, boxes: Tensor, scores: Tensor, gt_boxes: Tensor, gt_labels: Tensor, image_size: tuple[int, int]
    ) -> Tensor:
        """Compute costs (N, max(N, M)): a column per person, then background columns as far as N exceeds M.

        BCE is the mean over classes, as in L_ac; smooth L1 (beta 1) is the sum over the four coordinates
        divided by width or height, as in DETR, which the paper follows; GIoU loss is 1 - GIoU. Background
        costs the BCE against no label (paper, section 3.4).
        """
        if not bool(((scores >= 0) & (scores <= 1)).all()):
            raise ValueError("the teacher's action scores must lie in [0, 1]; some are NaN or outside")
        if not bool(torch.isfinite(boxes).all() and torch.isfinite(gt_boxes).all()):
            raise ValueError("boxes must be finite; some coordinates are NaN or infinite")
        # As in torch's binary_cross_entropy, so that scores of exactly 0 and 1 cost much, not infinity.
        log_yes, log_no = scores.log().clamp(min=-100), (1 - scores).log().clamp(min=-100)
        classes = max(scores.shape[1], 1)
        bce = -(log_yes @ gt_labels.T + log_no @ (1 - gt_labels).T) / classes
        height, width = image_size
        scale = boxes.new_tensor([width, height, width, height])
        distance = ((boxes[:, None] - gt_boxes[None]) / scale).abs()
        l1 = torch.where(distance < 1, 0.5 * distance**2, distance - 0.5).sum(dim=2)
        # Two boxes without area have no GIoU (0 / 0); the largest cost is used.
        giou = 1 - generalized_box_iou(boxes, gt_boxes).nan_to_num(nan=-1.0)
        people = self.cost_bce * bce + self.cost_l1 * l1 + self.cost_giou * giou
        surplus = max(len(boxes) - len(gt_boxes), 0)
        background = -self.cost_bce * log_no.sum(dim=1, keepdim=True) / classes
        return torch.cat([people, background.expand(-1, surplus)], dim=1)
