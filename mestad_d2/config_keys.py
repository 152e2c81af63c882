"""Which of detectron2's own config keys are used here; setting any other is an error."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling.backbone import BACKBONE_REGISTRY
from detectron2.modeling.meta_arch import META_ARCH_REGISTRY
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY

from mestad_d2.config_files import leaves
from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

# Always in effect; patterns of fnmatch. Keys that only newer versions of detectron2 have are named too.
HONOURED = (
    "VERSION",
    "OUTPUT_DIR",
    "SEED",
    "CUDNN_BENCHMARK",
    "FLOAT32_PRECISION",
    "MODEL.DEVICE",
    "MODEL.META_ARCHITECTURE",
    "MODEL.WEIGHTS",
    "MODEL.PIXEL_MEAN",
    "MODEL.PIXEL_STD",
    "MODEL.BACKBONE.NAME",
    "MODEL.FPN.*",
    "MODEL.PROPOSAL_GENERATOR.NAME",
    "MODEL.ROI_HEADS.NAME",
    "INPUT.MIN_SIZE_*",
    "INPUT.MAX_SIZE_*",
    "INPUT.RANDOM_FLIP",
    "INPUT.CROP.*",
    "DATASETS.TRAIN",
    "DATASETS.TEST",
    "DATALOADER.NUM_WORKERS",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS",
    "SOLVER.AMP.ENABLED",
    "SOLVER.BASE_LR",
    "SOLVER.BASE_LR_END",
    "SOLVER.BIAS_LR_FACTOR",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.CLIP_GRADIENTS.*",
    "SOLVER.GAMMA",
    "SOLVER.IMS_PER_BATCH",
    "SOLVER.LR_SCHEDULER_NAME",
    "SOLVER.MAX_ITER",
    "SOLVER.MOMENTUM",
    "SOLVER.NESTEROV",
    "SOLVER.NUM_DECAYS",
    "SOLVER.REFERENCE_WORLD_SIZE",
    "SOLVER.RESCALE_INTERVAL",
    "SOLVER.STEPS",
    "SOLVER.WARMUP_*",
    "SOLVER.WEIGHT_DECAY*",
    "TEST.EVAL_PERIOD",
    "TEST.EXPECTED_RESULTS",
    "TEST.PRECISE_BN.*",
)
# Used by one of detectron2's proposal generators only; with another one a warning says so.
ANCHORS = tuple(f"MODEL.ANCHOR_GENERATOR.{key}" for key in ("NAME", "SIZES", "ASPECT_RATIOS", "OFFSET"))
HONOURED_WITH = {
    "RetinaNetProposals": (*ANCHORS, "MODEL.RETINANET.*"),
    "RPNRCNNProposals": (
        *ANCHORS,
        "MODEL.RPN.*",
        "MODEL.PROPOSAL_GENERATOR.MIN_SIZE",
        "MODEL.ROI_HEADS.*",
        "MODEL.ROI_BOX_HEAD.*",
    ),
}
# Before the patterns above: detectron2's boxes are taken before its own selection, of one class.
IGNORED = {
    "MODEL.RETINANET.NUM_CLASSES": "there is one class, person",
    "MODEL.RETINANET.*_TEST": "MODEL.PROPOSALS.* selects boxes",
    "MODEL.RETINANET.BBOX_REG_LOSS_TYPE": "the loss is smooth L1",
    "MODEL.ROI_HEADS.NUM_CLASSES": "there is one class, person; actions are MODEL.ROI_ACTION_HEAD.NUM_CLASSES",
    "MODEL.ROI_HEADS.*_TEST": "MODEL.PROPOSALS.* selects boxes",
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": "MODEL.ROI_ACTION_HEAD.TRAIN_BOXES says what actions learn from",
    "MODEL.ROI_BOX_HEAD.*FED_LOSS*": "there is one class, person",
    "MODEL.BACKBONE.FREEZE_AT": 'SOLVER.FREEZE ["backbone"] freezes parts, MODEL.VIDEO_RESNET.NORM FrozenBN the norms',
    "MODEL.RESNETS.*": "MODEL.VIDEO_RESNET.* describes the backbone",
    "INPUT.FORMAT": "clips are RGB",
    "DATALOADER.ASPECT_RATIO_GROUPING": "clips of a batch are padded, not grouped",
    "DATALOADER.*": "every epoch is one permutation of the clips",
    "DATASETS.P*": "DATASETS.PERSON_BOXES_TRAIN and PERSON_BOXES_TEST name files of boxes",
    "MODEL.LOAD_PROPOSALS": "DATASETS.PERSON_BOXES_TRAIN and PERSON_BOXES_TEST name files of boxes",
    "TEST.DETECTIONS_PER_IMAGE": "MODEL.PROPOSALS.POST_NMS_TOPK_TEST is the number of people",
    "TEST.AUG.*": "there is no test-time augmentation",
    "VIS_PERIOD": "tools/visualize_data.py and tools/visualize_tla.py draw training clips",
}
# The only value besides detectron2's default that matches what is done anyway.
AS_ALWAYS: dict[str, Any] = {
    "MODEL.RETINANET.NUM_CLASSES": 1,
    "MODEL.ROI_HEADS.NUM_CLASSES": 1,
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "INPUT.FORMAT": "RGB",
    "DATALOADER.ASPECT_RATIO_GROUPING": False,
}
REGISTRIES = {
    "META_ARCHITECTURE": META_ARCH_REGISTRY,
    "BACKBONE": BACKBONE_REGISTRY,
    "PROPOSAL_GENERATOR": PROPOSAL_GENERATOR_REGISTRY,
    "ROI_HEADS": ROI_HEADS_REGISTRY,
}


def check_keys(cfg: CfgNode) -> None:
    """Refuse values of unused detectron2 keys; warn about keys of parts that are not selected.

    Keys below MODEL are accepted where a user registered a part, which may read them.

    Raises:
        UserError: the first such key, with what to set instead.
    """
    defaults, values = dict(leaves(get_cfg())), dict(leaves(cfg))
    others_part, chosen = _has_part_of_others(cfg), cfg.MODEL.PROPOSAL_GENERATOR.NAME
    unused = []
    for key, default in defaults.items():
        value = values.get(key, default)
        if _same(value, default) or (key in AS_ALWAYS and _same(value, AS_ALWAYS[key])):
            continue
        if others_part and key.startswith("MODEL."):
            continue
        why = _why_ignored(key, chosen)
        if why is None:
            continue
        if why.startswith("MODEL.PROPOSAL_GENERATOR.NAME"):
            unused.append(key)
            continue
        raise UserError(f"{key}: {value!r} has no effect here ({why}); remove it")
    if unused:
        logger.warning("%s: no effect with MODEL.PROPOSAL_GENERATOR.NAME %s", ", ".join(unused), chosen)


def _why_ignored(key: str, generator: str) -> str | None:
    """Why a key of detectron2's has no effect; None: it has."""
    for pattern, why in IGNORED.items():
        if fnmatchcase(key, pattern) and not _fits(key, HONOURED):
            return why
    if _fits(key, HONOURED) or _fits(key, HONOURED_WITH.get(generator, ())):
        return None
    for name, patterns in HONOURED_WITH.items():
        if _fits(key, patterns):
            return f"MODEL.PROPOSAL_GENERATOR.NAME is not {name}"
    return "mestad_d2 has no such part"


def _fits(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return len(value) == len(default) and all(map(_same, value, default))
    return value == default


def _has_part_of_others(cfg: CfgNode) -> bool:
    names = {part: cfg.MODEL[part] for part in ("META_ARCHITECTURE",)}
    names |= {part: cfg.MODEL[part].NAME for part in ("BACKBONE", "PROPOSAL_GENERATOR", "ROI_HEADS")}
    for part, name in names.items():
        registry = REGISTRIES[part]
        if name in registry and not registry.get(name).__module__.startswith(("mestad_d2.", "detectron2.")):
            return True
    return False
