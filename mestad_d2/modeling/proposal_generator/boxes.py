"""Overlap of pairs of boxes, as IoU and as loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss


def aligned_iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the IoU (R,) of boxes (R, 4) with their partners (R, 4)."""
    inter = (torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    area = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(dim=1) + (b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1)
    return inter / (area - inter).clamp(min=1e-7)


def iou_log_loss(a: Tensor, b: Tensor) -> Tensor:
    """Compute -log IoU (R,), plain FCOS's box loss."""
    return -aligned_iou(a, b).clamp(min=1e-6).log()


# torchvision's GIoU and not fvcore's: that one asserts on NaN, before the trainer can act on a loss that
# is not finite. Reduction "none" is its default.
BOX_LOSSES = {"giou": generalized_box_iou_loss, "iou": iou_log_loss}
