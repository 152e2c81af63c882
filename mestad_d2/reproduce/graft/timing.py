"""Time a key frame of the two-stage pipeline and of the one network, side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import nn

from mestad_d2.benchmarks.two_stage import FixedPeople, people
from mestad_d2.errors import UserError
from mestad_d2.graft.training import one_network
from mestad_d2.inference.person_detector.base import build_person_detector
from mestad_d2.inference.person_detector.sources import use_persons
from mestad_d2.modeling.build import build_detector
from mestad_d2.timing import ratio, time_interleaved

# The frame that a person detector resizes by itself (height, width), and people on it.
FRAME, PEOPLE = (720, 1280), 6
DETECTORS = (
    "torchvision:fasterrcnn_resnet50_fpn_v2",
    "detectron2:COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml",
    "detectron2:COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml",
)


def time_key_frame(cfg: CfgNode, runs: int, detectors: Sequence[str] = DETECTORS) -> dict:
    """Measure seconds a key frame with random weights, in fp32 and without compilation.

    All find the same number of people, so that the action heads have the same work.

    Args:
        cfg: of the two-stage action network.
        runs: rounds, each of which goes through all pipelines.
        detectors: person detectors as ``--persons`` names them; those that can't be had are left out.

    Returns:
        medians in seconds, and the ratio of each two-stage pipeline to the one network, with quartiles.
    """
    torch.manual_seed(0)
    size, frames = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.CLIP.NUM_FRAMES
    clip = torch.randint(0, 256, (3, frames, size, size * FRAME[1] // FRAME[0] // 32 * 32), dtype=torch.uint8)
    picture = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), dtype=np.uint8)
    item = {"clip": clip, "height": FRAME[0], "width": FRAME[1]}
    one = build_detector(one_network(cfg)).eval().requires_grad_(False)
    one.proposal_generator = FixedPeople(one.proposal_generator, PEOPLE)
    actions = build_detector(cfg).eval().requires_grad_(False)
    given = [{**item, "proposals": people(PEOPLE, tuple(clip.shape[-2:]), actions.device)}]
    functions: dict[str, Callable[[], object]] = {"one network": lambda: one([item])}
    for spec in detectors:
        with suppress(UserError):
            functions[spec] = _pipeline(_detector(cfg, spec), actions, picture, given)
    with torch.no_grad():
        seconds = time_interleaved(functions, runs)
    return {
        "device": torch.cuda.get_device_name() if cfg.MODEL.DEVICE == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "runs": runs,
        "clip": list(clip.shape),
        "seconds": {name: round(statistics.median(values), 5) for name, values in seconds.items()},
        "two-stage / one network": {
            name: ratio(seconds, name, "one network") for name in functions if name != "one network"
        },
    }


def _detector(cfg: CfgNode, spec: str) -> nn.Module:
    cfg = cfg.clone()
    cfg.defrost()
    use_persons(cfg, spec, "random")
    return build_person_detector(cfg)


def _pipeline(
    detector: nn.Module, actions: nn.Module, picture: np.ndarray, given: list[dict]
) -> Callable[[], object]:
    return lambda: (detector([picture]), actions(given))
