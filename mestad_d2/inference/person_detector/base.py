"""Base of all person detectors: pictures in, boxes with scores out."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.config import CfgNode
from fvcore.common.registry import Registry
from torch import Tensor, nn
from torchvision.ops import nms

from mestad_d2.errors import UserError

PERSON_DETECTOR_REGISTRY = Registry("PERSON_DETECTOR")
PERSON_DETECTOR_REGISTRY.__doc__ = """
Person detectors by the name that ``MODEL.PERSON_DETECTOR.NAME`` and ``--persons NAME:MODEL`` give. A registered class
is a ``PersonDetector`` with a class method ``from_config(cfg)``.
"""
# Kinds that come with the package, by their short names; their modules are imported when one is asked for.
BUILT_IN = {
    "detectron2": "Detectron2PersonDetector",
    "torchvision": "TorchvisionPersonDetector",
    "transformers": "TransformersPersonDetector",
}


class PersonDetector(nn.Module):
    """Base class of person detectors; subclasses define ``detect``.

    Args:
        score_threshold: least person score of a box that is kept.
        nms_threshold: boxes that overlap a better one by more than this IoU are dropped; 1 keeps all.
        max_people: boxes kept a picture, best first.
    """

    def __init__(self, score_threshold: float, nms_threshold: float, max_people: int) -> None:
        super().__init__()
        self.score_threshold, self.nms_threshold, self.max_people = score_threshold, nms_threshold, max_people

    @classmethod
    def from_config(cls, cfg: CfgNode) -> PersonDetector:
        """Build the detector of ``MODEL.PERSON_DETECTOR`` with its weights, in eval mode."""
        raise NotImplementedError

    def detect(self, pictures: Sequence[np.ndarray]) -> list[tuple[Tensor, Tensor]]:
        """Detect persons; see ``PersonDetector.detect``.

        Args:
            pictures: (H, W, 3) uint8 RGB each, of any sizes.
        """
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Find the people of each picture.

        Args:
            pictures: (H, W, 3) uint8 RGB each, of any sizes.

        Returns:
            per picture (N, 5) float32: x1, y1, x2, y2 in pixels, clipped to the picture, and score; best first.
        """
        return [
            self._select(boxes.float().cpu(), scores.float().cpu(), picture.shape[:2])
            for (boxes, scores), picture in zip(self.detect(pictures), pictures, strict=True)
        ]

    def _select(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> np.ndarray:
        height, width = size
        boxes = boxes.clone()
        boxes[:, 0::2].clamp_(0, width)
        boxes[:, 1::2].clamp_(0, height)
        solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        keep = solid & torch.isfinite(scores) & (scores >= self.score_threshold)
        boxes, scores = boxes[keep], scores[keep]
        best = nms(boxes, scores, self.nms_threshold)[: self.max_people]
        return torch.cat([boxes[best], scores[best, None]], dim=1).numpy()


def selection_settings(cfg: CfgNode) -> dict:
    """Return the thresholds of ``MODEL.PERSON_DETECTOR`` as keyword arguments of ``PersonDetector``.

    Raises:
        UserError: a threshold outside [0, 1], or nobody may be kept.
    """
    node = cfg.MODEL.PERSON_DETECTOR
    for key in ("SCORE_THRESH", "NMS_THRESH"):
        if not 0 <= node[key] <= 1:
            raise UserError(f"MODEL.PERSON_DETECTOR.{key}: {node[key]} is outside [0, 1]")
    if node.MAX_PEOPLE < 1:
        raise UserError(f"MODEL.PERSON_DETECTOR.MAX_PEOPLE: {node.MAX_PEOPLE} keeps nobody; give 1 or more")
    return {
        "score_threshold": node.SCORE_THRESH,
        "nms_threshold": node.NMS_THRESH,
        "max_people": node.MAX_PEOPLE,
    }


def person_index(names: Sequence[str] | dict[int, str], model: str) -> int:
    """Find the class "person" among a detector's class names.

    Raises:
        UserError: the detector knows no people.
    """
    numbered = names.items() if isinstance(names, dict) else enumerate(names)
    for index, name in numbered:
        if str(name).lower() == "person":
            return int(index)
    raise UserError(
        f'person detector {model}: none of its {len(names)} classes is called "person"; '
        "use a detector that was trained on COCO or another set with people"
    )


def build_person_detector(cfg: CfgNode) -> PersonDetector:
    """Build Faster R-CNN X101-32x8d-FPN from detectron2's own config, with random weights, in eval mode.

    Raises:
        UserError: no such kind of detector or model, or its weights can't be had.
    """
    name = cfg.MODEL.PERSON_DETECTOR.NAME
    if name in BUILT_IN:
        importlib.import_module(f"mestad_d2.inference.person_detector.{name}_models")
    registered = BUILT_IN.get(name, name)
    if registered not in PERSON_DETECTOR_REGISTRY:
        others = {key for key, _ in PERSON_DETECTOR_REGISTRY} - set(BUILT_IN.values())
        known = ", ".join(sorted({*BUILT_IN, "csv", *others}))
        raise UserError(f"MODEL.PERSON_DETECTOR.NAME: there is no kind {name!r}; there are {known}")
    detector = PERSON_DETECTOR_REGISTRY.get(registered).from_config(cfg)
    return detector.to(cfg.MODEL.DEVICE).eval().requires_grad_(False)
