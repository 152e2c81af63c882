"""A model of a few thousand parameters and clips without files, for tests of what surrounds them."""

from __future__ import annotations

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances

from mestad_d2.load_config import setup_cfg

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "toy" / "SlowOnly_tiny.yaml"
SMALLER = [
    "MODEL.VIDEO_RESNET.WIDTH", "4", "MODEL.FPN.OUT_CHANNELS", "8", "MODEL.FCOS.CONV_DIM", "8",
    "MODEL.FCOS.NUM_CONVS", "1", "INPUT.CLIP.NUM_FRAMES", "4", "SOLVER.IMS_PER_BATCH", "2",
    "DATALOADER.NUM_WORKERS", "0", "MODEL.DEVICE", "cpu", "SOLVER.WARMUP_ITERS", "2",
    "SOLVER.CHECKPOINT_PERIOD", "1000", "TEST.BATCH_SIZE", "4",
]  # fmt: skip
# An untrained model finds nobody at the usual threshold.
EAGER = ["MODEL.PROPOSALS.SCORE_THRESH_TEST", "0.0", "MODEL.PROPOSALS.POST_NMS_TOPK_TEST", "3"]


def tiny_cfg(*opts: object) -> CfgNode:
    """The toy config, smaller still, with further options KEY, VALUE, ..."""
    return setup_cfg(CONFIG, [*SMALLER, *map(str, opts)])


def fake_input(
    boxes: list[list[float]], frames: int = 4, size: tuple[int, int] = (64, 80), seed: int = 0
) -> dict:
    """A clip of noise with persons at ``boxes``; person i does action i + 1."""
    generator = torch.Generator().manual_seed(seed)
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.zeros(len(boxes), dtype=torch.long)
    instances.gt_actions = torch.eye(12)[: len(boxes)]
    clip = torch.randint(0, 256, (3, frames, *size), generator=generator, dtype=torch.uint8)
    return {
        "clip": clip, "instances": instances, "height": 2 * size[0], "width": 2 * size[1],
        "video_id": "v", "timestamp": 1.0, "image_id": "v,1",
    }  # fmt: skip
