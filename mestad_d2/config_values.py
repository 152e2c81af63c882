"""Allowed values of config keys; a wrong value is refused by key name before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

import torch
from detectron2.config import CfgNode

from mestad_d2.config_files import leaves
from mestad_d2.errors import UserError

CHOICES: dict[str, tuple] = {
    "INPUT.CLIP.ON_ERROR": ("raise", "skip"),
    "INPUT.CLIP.RESIZE": ("area", "bilinear"),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("choice", "range"),
    "INPUT.RANDOM_FLIP": ("none", "horizontal"),
    "INPUT.CROP.TYPE": ("absolute",),
    "MODEL.VIDEO_RESNET.NORM": ("BN", "FrozenBN", "SyncBN"),
    "MODEL.NONLOCAL.INSTANTIATION": ("dot_product", "softmax"),
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    "MODEL.FCOS.NORM": ("GN", ""),
    "MODEL.FCOS.CENTERNESS_TARGET": ("centerness", "iou"),
    "MODEL.FCOS.LOC_LOSS": ("giou", "iou"),
    "MODEL.ROI_ACTION_HEAD.TEMPORAL_POOL": ("avg", "max"),
    "MODEL.ROI_ACTION_HEAD.SPATIAL_POOL": ("avg", "max"),
    "MODEL.ROI_ACTION_HEAD.TRAIN_BOXES": ("proposals", "gt", "external"),
    "MODEL.ROI_ACTION_HEAD.TEST_BOXES": ("proposals", "gt", "external"),
    "SOLVER.OPTIMIZER": ("SGD", "AdamW"),
    "SOLVER.ON_NONFINITE": ("raise", "skip"),
    "SOLVER.WARMUP_METHOD": ("linear", "constant"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("value", "norm"),
}
# Keys with a count of at least 1.
AT_LEAST_ONE = (
    "INPUT.CLIP.NUM_FRAMES",
    "INPUT.CLIP.SAMPLING_RATE",
    "INPUT.CLIP.COARSE_STRIDE",
    "INPUT.MIN_SIZE_TRAIN",
    "INPUT.MIN_SIZE_TEST",
    "INPUT.MAX_SIZE_TRAIN",
    "INPUT.MAX_SIZE_TEST",
    "INPUT.CROP.SIZE",
    "MODEL.VIDEO_RESNET.WIDTH",
    "MODEL.VIDEO_RESNET.STAGE_BLOCKS",
    "MODEL.VIDEO_RESNET.TEMPORAL_KERNELS",
    "MODEL.VIDEO_RESNET.RES5_STRIDE",
    "MODEL.VIDEO_RESNET.RES5_DILATION",
    "MODEL.SLOWFAST.ALPHA",
    "MODEL.SLOWFAST.BETA_INV",
    "MODEL.SLOWFAST.FUSION_KERNEL",
    "MODEL.SLOWFAST.FUSION_RATIO",
    "MODEL.SLOWFAST.FAST_TEMPORAL_KERNELS",
    "MODEL.SLOWFAST.FAST_RES5_DILATION",
    "MODEL.NONLOCAL.POOL",
    "MODEL.FPN.OUT_CHANNELS",
    "MODEL.FCOS.CONV_DIM",
    "MODEL.FCOS.SIZES_OF_INTEREST",
    "MODEL.PROPOSALS.PRE_NMS_TOPK",
    "MODEL.PROPOSALS.POST_NMS_TOPK_TRAIN",
    "MODEL.PROPOSALS.POST_NMS_TOPK_TEST",
    "MODEL.GFOCAL.REG_MAX",
    "MODEL.GFOCAL.ANCHOR_SCALE",
    "MODEL.GFOCAL.ATSS_TOPK",
    "MODEL.GFOCAL.QUALITY_TOPK",
    "MODEL.GFOCAL.QUALITY_DIM",
    "MODEL.SPARSE_RCNN.NUM_PROPOSALS",
    "MODEL.SPARSE_RCNN.NUM_STAGES",
    "MODEL.SPARSE_RCNN.DYNAMIC_DIM",
    "MODEL.SPARSE_RCNN.FEEDFORWARD_DIM",
    "MODEL.SPARSE_RCNN.NUM_HEADS",
    "MODEL.SPARSE_RCNN.POOLER_RESOLUTION",
    "MODEL.ROI_ACTION_HEAD.NUM_CLASSES",
    "MODEL.ROI_ACTION_HEAD.POOLER_RESOLUTION",
    "MODEL.ROI_ACTION_HEAD.ACRN_CONVS",
    "MODEL.ACTION_TRANSFORMER.DIM",
    "MODEL.ACTION_TRANSFORMER.NUM_UNITS",
    "MODEL.ACTION_TRANSFORMER.NUM_HEADS",
    "MODEL.ACTION_TRANSFORMER.LOCATION_DIM",
    "MODEL.ACTOR_CROPS.SIZE",
    "MODEL.FEATURE_BANK.DIM",
    "MODEL.FEATURE_BANK.NUM_LAYERS",
    "MODEL.FEATURE_BANK.FILLS",
    "MODEL.WOO.DIM",
    "MODEL.WOO.DYNAMIC_DIM",
    "MODEL.WOO.NUM_HEADS",
    "MODEL.WOO.TIME_STEPS",
    "SOLVER.IMS_PER_BATCH",
    "SOLVER.MAX_ITER",
    "SOLVER.CHECKPOINT_PERIOD",
    "SEMISUP.TEACHER_MAX_BOXES",
    "TEST.BATCH_SIZE",
)
ABOVE_ZERO = (
    "MODEL.ACTOR_CROPS.SCALE",
    "MODEL.FEATURE_BANK.SECONDS",
    "INPUT.CLIP.FPS",
    "INPUT.CLIP.SCALE_RANGE",
    "MODEL.PIXEL_STD",
    "MODEL.FCOS.CENTER_SAMPLING_RADIUS",
    "SOLVER.BASE_LR",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE",
    "SEMISUP.UNLABELED_RATIO",
    "SEMISUP.MAX_GAP",
)
NOT_NEGATIVE = (
    "INPUT.CLIP.COLOR_JITTER",
    "INPUT.CLIP.CACHE_MB",
    "INPUT.CLIP.GRID_RATE",
    "INPUT.CLIP.GRID_START",
    "INPUT.CLIP.COARSE_ITERS",
    "MODEL.VIDEO_BACKBONE.WIDTH",
    "MODEL.FCOS.NUM_CONVS",
    "MODEL.FCOS.LOSS_WEIGHT",
    "MODEL.PROPOSALS.NMS_THRESH_TRAIN",
    "MODEL.PROPOSALS.NMS_THRESH_TEST",
    "MODEL.ROI_ACTION_HEAD.POOLER_SAMPLING_RATIO",
    "MODEL.ROI_ACTION_HEAD.LOSS_WEIGHT",
    "MODEL.ROI_ACTION_HEAD.POSITIVES_PER_CLIP",
    "MODEL.ROI_ACTION_HEAD.ACRN_DIM",
    "MODEL.ROI_ACTION_HEAD.INIT_STD",
    "MODEL.ROI_ACTION_HEAD.FOCAL_GAMMA",
    "MODEL.ROI_ACTION_HEAD.FOCAL_ALPHA",
    "DATALOADER.NUM_WORKERS",
    "SOLVER.CLIP_TOTAL_NORM",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.WARMUP_FACTOR",
    "SOLVER.MOMENTUM",
    "SOLVER.WEIGHT_DECAY",
    "SOLVER.WEIGHT_DECAY_NORM",
    "SOLVER.BIAS_LR_FACTOR",
    "SOLVER.REFERENCE_WORLD_SIZE",
    "SEMISUP.BURN_IN_ITERS",
    "SEMISUP.LOSS_WEIGHT",
    "SEMISUP.LOC_LOSS_WEIGHT",
    "SEMISUP.COST_BCE",
    "SEMISUP.COST_L1",
    "SEMISUP.COST_GIOU",
    "SEMISUP.TEACHER_NMS_THRESH",
    "SEMISUP.MIN_OFFSET",
    "TEST.EVAL_PERIOD",
)
SHARES = (
    "INPUT.CLIP.MIN_VISIBLE",
    "INPUT.CLIP.MAX_SKIPPED",
    "MODEL.ROI_ACTION_HEAD.DROPOUT",
    "MODEL.ROI_ACTION_HEAD.POSITIVE_IOU",
    "SEMISUP.EMA_DECAY",
    "SEMISUP.HARD_THRESHOLD",
    "DATASETS.PERSON_BOX_SCORE",
)
BETWEEN = ("MODEL.FCOS.PRIOR_PROB", "MODEL.SPARSE_RCNN.PRIOR_PROB")
Rule = tuple[tuple[str, ...], Callable[[Any], bool], str]
RULES: tuple[Rule, ...] = (
    (AT_LEAST_ONE, lambda value: value >= 1, "1 or more"),
    (ABOVE_ZERO, lambda value: value > 0, "more than 0"),
    (NOT_NEGATIVE, lambda value: value >= 0, "0 or more"),
    (SHARES, lambda value: 0 <= value <= 1, "0 to 1"),
    (BETWEEN, lambda value: 0 < value < 1, "between 0 and 1"),
)
# Names that the entries of a list may have, by key; ``add_mestad_config`` enters what the rooms above know.
KNOWN_NAMES: dict[str, Collection[str]] = {}
SCHEDULES = ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR")


def check_values(cfg: CfgNode) -> None:
    """Refuse values that no run can use.

    Raises:
        UserError: the first such key, with its value and what it may be.
    """
    values = dict(leaves(cfg))
    for key, value in values.items():
        if not all(math.isfinite(number) for number in _numbers(value)):
            raise UserError(f"{key}: {value!r} is not finite; give a number")
    if not cfg.INPUT.CROP.ENABLED:
        # detectron2's defaults, which clips could not use.
        values |= {"INPUT.CROP.TYPE": "absolute", "INPUT.CROP.SIZE": [1, 1]}
    for key, allowed in CHOICES.items():
        if values[key] not in allowed:
            raise UserError(f"{key}: {values[key]!r} is unknown; use {' or '.join(map(repr, allowed))}")
    for keys, holds, wanted in RULES:
        for key in keys:
            if not all(map(holds, _numbers(values[key]))):
                raise UserError(f"{key}: {values[key]!r} makes no sense; give {wanted}")
    for key, known in KNOWN_NAMES.items():
        if unknown := [name for name in values[key] if name not in known]:
            raise UserError(f"{key}: {unknown[0]!r} is unknown; use {' or '.join(map(repr, known))}")
    if cfg.SOLVER.LR_SCHEDULER_NAME not in SCHEDULES:
        raise UserError(
            f"SOLVER.LR_SCHEDULER_NAME: {cfg.SOLVER.LR_SCHEDULER_NAME!r} is unknown; "
            f"use {' or '.join(map(repr, SCHEDULES[:2]))}"
        )
    if cfg.INPUT.CLIP.SCALE_RANGE[0] > cfg.INPUT.CLIP.SCALE_RANGE[-1]:
        raise UserError(f"INPUT.CLIP.SCALE_RANGE: {list(cfg.INPUT.CLIP.SCALE_RANGE)} falls; give [low, high]")
    for entry in cfg.TEST.EXPECTED_RESULTS:
        if not isinstance(entry, list | tuple) or len(entry) != 4 or len(_numbers(entry)) != 2:
            raise UserError(
                f"TEST.EXPECTED_RESULTS: {entry!r} is no (task, metric, expected value, tolerance); give four"
            )
    _check_device(cfg.MODEL.DEVICE)


def _numbers(value: Any) -> list[float]:
    """The numbers in a value, including nested lists."""
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split(".")[0].split())
        raise UserError(
            f"MODEL.DEVICE: {name!r} can't be used here ({reason}); use cpu, or cuda with a GPU"
        ) from None


def near(name: str, known: list[str]) -> str:
    """Suggest known names like ``name`` for a message; all of them where none is similar and they are few."""
    found = get_close_matches(name, known, n=3) or (known if len(known) <= 12 else [])
    return f"; use {' or '.join(found)}" if found else ""
