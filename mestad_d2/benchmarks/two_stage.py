"""The two-stage baseline: a person detector, then an action network on its boxes."""

from __future__ import annotations

import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

PERSON_DETECTOR = "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml"


def build_person_detector(device: str) -> nn.Module:
    """Build Faster R-CNN X101-32x8d-FPN from detectron2's own config, with random weights, in eval mode."""
    cfg = model_zoo.get_config(PERSON_DETECTOR)
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = device
    return build_model(cfg).eval().requires_grad_(False)


def build_action_network(cfg: CfgNode) -> nn.Module:
    """Build the same backbone and action head without FPN and actor head, on ``proposals`` of its input."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "PrecomputedProposals"
    cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "external"
    return build_model(cfg).eval().requires_grad_(False)


def spread_boxes(count: int, height: int, width: int, device: str | torch.device) -> Boxes:
    """Return ``count`` boxes of standing people side by side, in pixels."""
    left = torch.linspace(0, 0.8 * width, count, device=device)
    top, bottom = torch.full_like(left, 0.2 * height), torch.full_like(left, 0.9 * height)
    return Boxes(torch.stack([left, top, left + 0.2 * width, bottom], dim=1))


class FixedPeople(nn.Module):
    """A proposal generator that does all of its work and then gives ``count`` fixed boxes a clip.

    Otherwise the number of people depends on the weights and the video.
    """

    def __init__(self, inner: nn.Module, count: int) -> None:
        super().__init__()
        self.inner, self.count = inner, count

    def forward(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None = None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Return the proposals of the inner generator."""
        found, losses = self.inner(images, features, gt_instances)
        return [people(self.count, p.image_size, images.tensor.device) for p in found], losses


def people(count: int, size: tuple[int, int], device: str | torch.device) -> Instances:
    """Return proposals at ``spread_boxes`` with score 1, in a clip of ``size`` (height, width)."""
    scores = torch.ones(count, device=device)
    boxes = spread_boxes(count, *size, device)
    return Instances(size, proposal_boxes=boxes, objectness_logits=scores, scores=scores)
