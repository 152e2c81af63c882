"""What the tests of the proposal generators share."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, ImageList, Instances

from mestad_d2 import add_mestad_config

STRIDES = {"p3": 8, "p4": 16, "p5": 32}
LEVELS = list(STRIDES)


def small_cfg(name: str) -> CfgNode:
    """A config whose generator has 2 convolutions or stages, of 16 channels."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = name
    cfg.MODEL.FCOS.NUM_CONVS, cfg.MODEL.FCOS.CONV_DIM = 2, 16
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32, 45], [64, 90], [128, 180]]
    cfg.MODEL.ANCHOR_GENERATOR.OFFSET = 0.5
    for head in (cfg.MODEL.RETINANET, cfg.MODEL.RPN, cfg.MODEL.ROI_HEADS):
        head.IN_FEATURES = LEVELS
    cfg.MODEL.RETINANET.NUM_CONVS, cfg.MODEL.RETINANET.NORM = 2, "GN"
    box_head = cfg.MODEL.ROI_BOX_HEAD
    box_head.NAME, box_head.NUM_FC, box_head.FC_DIM, box_head.POOLER_RESOLUTION = (
        "FastRCNNConvFCHead",
        2,
        32,
        7,
    )
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 200
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 64
    sparse = cfg.MODEL.SPARSE_RCNN
    sparse.NUM_STAGES, sparse.NUM_PROPOSALS = 2, 20
    sparse.DYNAMIC_DIM, sparse.FEEDFORWARD_DIM, sparse.NUM_HEADS = 8, 32, 2
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
