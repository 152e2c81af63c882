"""What the tests of the proposal generators share."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, ImageList, Instances

from mestad_d2.config import add_mestad_config

STRIDES = {"p3": 8, "p4": 16, "p5": 32}


def small_cfg(name: str) -> CfgNode:
    """A config whose generator has 2 convolutions of 16 channels."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = name
    cfg.MODEL.FCOS.NUM_CONVS = 2
    cfg.MODEL.FCOS.CONV_DIM = 16
    return cfg


def shapes(channels: int = 16) -> dict[str, ShapeSpec]:
    return {name: ShapeSpec(channels=channels, stride=stride) for name, stride in STRIDES.items()}


def features(pictures: int, size: int = 128, channels: int = 16, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(pictures, channels, size // stride, size // stride, generator=generator)
        for name, stride in STRIDES.items()
    }


def images(pictures: int, size: int = 128) -> ImageList:
    return ImageList(torch.zeros(pictures, 3, 1, size, size), [(size, size)] * pictures)


def people(*boxes: list[float], size: int = 128) -> Instances:
    return Instances(
        (size, size),
        gt_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        gt_classes=torch.zeros(len(boxes), dtype=torch.int64),
    )
