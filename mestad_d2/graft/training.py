"""Train a person head onto the frozen backbone and action head of a trained action network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import yaml
from detectron2.config import CfgNode
from torch import nn

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.write import save_whole
from mestad_d2.data.catalog import register_ava_dataset
from mestad_d2.data.per_video import Setting
from mestad_d2.engine import build_trainer
from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_text
from mestad_d2.modeling.build import build_detector

DATASET = "graft_persons"


def one_network(cfg: CfgNode, generator: str = "FCOSProposals", path_width: int = 0) -> CfgNode:
    """Return the config of a two-stage model's backbone and action head with a person head of their own.

    Args:
        cfg: of the two-stage model; is not changed. A person head that it has stays.
        generator: proposal generator that it gets.
        path_width: ``MODEL.FPN.KEYFRAME_PATH.WIDTH`` of that person head.
    """
    cfg = cfg.clone()
    cfg.defrost()
    if cfg.MODEL.PROPOSAL_GENERATOR.NAME == "PrecomputedProposals":
        cfg.MODEL.PROPOSAL_GENERATOR.NAME = generator
        cfg.MODEL.FPN.KEYFRAME_PATH.WIDTH = path_width
    cfg.MODEL.ROI_ACTION_HEAD.TRAIN_BOXES = cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "proposals"
    cfg.MODEL.PERSON_DETECTOR.NAME = ""
    cfg.DATASETS.PERSON_BOXES_TRAIN = cfg.DATASETS.PERSON_BOXES_TEST = ()
    return cfg


def trained_parts(cfg: CfgNode) -> list[str]:
    """Return the names of the parts of backbone and action head that ``MODEL.WEIGHTS`` fills, for ``SOLVER.FREEZE``.

    Layers that this package adds to a library's backbone for the FPN are in no file of that library, and left out.

    Args:
        cfg: of ``one_network``.

    Raises:
        UserError: no weights are given, they can't be read, or the action head is not in them.
    """
    if not cfg.MODEL.WEIGHTS:
        raise UserError("--weights: name the file of the action network's trained weights")
    model = build_detector(cfg)
    checkpointer = MESTADCheckpointer(model, cfg=cfg)
    checkpointer.load(cfg.MODEL.WEIGHTS, checkpointables=[])
    report = checkpointer.last_report
    random = {*report.missing, *report.new}
    untrained = [name for name, _ in model.roi_heads.named_parameters("roi_heads") if name in random]
    if untrained:
        raise UserError(
            f"{cfg.MODEL.WEIGHTS}: {len(untrained)} tensors of the action head are not in it (such as {untrained[0]}); "
            "name the weights of a trained action detector, and its config"
        )
    return [name for part in ("backbone", "roi_heads") for name in _filled(model, part, random)]


def _filled(model: nn.Module, name: str, random: set[str]) -> list[str]:
    """The largest parts of a module, or parameters of it, of which nothing is random."""
    module = model.get_submodule(name)
    inside = [key for key, _ in module.named_parameters(name)]
    if not random.intersection(inside):
        return [name] if inside else []
    direct = [key for key, _ in module.named_parameters(name, recurse=False) if key not in random]
    return direct + [
        part for child, _ in module.named_children() for part in _filled(model, f"{name}.{child}", random)
    ]


def training_cfg(
    cfg: CfgNode,
    frozen: Sequence[str],
    boxes: Path,
    videos: str | Path,
    output: Path,
    *,
    iterations: int,
    batch: int,
    start: Setting = 0.0,
    solver: Sequence[str] = (),
) -> CfgNode:
    """Return the config that trains the person head, in a folder of its own below ``output``; it registers the boxes.

    Args:
        cfg: of ``one_network``; is not changed.
        frozen: as ``trained_parts`` names them.
        boxes: csv of person boxes.
        videos: folder of the videos.
        output: a training of other settings has another folder below it.
        iterations: of training.
        batch: clips of one.
        start: timestamp of every video's first frame; see ``register_ava_dataset``.
        solver: options ``SOLVER.KEY VALUE ...`` in place of those that are set here.
    """
    cfg = cfg.clone()
    register_ava_dataset(
        DATASET, video_root=videos, annotations=boxes, label_map=None, start=start, persons_only=True
    )
    node = cfg.SOLVER
    node.FREEZE = list(frozen)
    node.OPTIMIZER, node.BASE_LR, node.LAYER_DECAY = "AdamW", 0.001, 1.0
    node.WEIGHT_DECAY, node.WEIGHT_DECAY_NORM, node.WEIGHT_DECAY_BIAS = 0.01, 0.0, 0.0
    node.LR_SCHEDULER_NAME, node.WARMUP_FACTOR = "WarmupCosineLR", 0.1
    node.MAX_ITER, node.IMS_PER_BATCH, node.REFERENCE_WORLD_SIZE = iterations, batch, 0
    node.WARMUP_ITERS = min(100, iterations // 10)
    # An interrupted run loses at most a tenth.
    node.CHECKPOINT_PERIOD = max(iterations // 10, 1)
    node.CLIP_TOTAL_NORM = 10.0
    cfg.merge_from_list(list(solver))
    cfg.SEMISUP.ENABLED = False
    cfg.INPUT.CLIP.COARSE_ITERS = 0
    cfg.DATALOADER.NUM_WORKERS = min(cfg.DATALOADER.NUM_WORKERS, max(len(os.sched_getaffinity(0)) - 1, 0))
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (DATASET,), ()
    cfg.TEST.EVAL_PERIOD, cfg.TEST.EXPECTED_RESULTS = 0, []
    cfg.OUTPUT_DIR = ""
    facts = hashlib.sha256(cfg.dump().encode() + boxes.read_bytes()).hexdigest()[:8]
    cfg.OUTPUT_DIR = str(output / f"run-{facts}")
    cfg.freeze()
    return cfg


def train(cfg: CfgNode) -> nn.Module:
    """Train as ``training_cfg`` says, going on where an earlier training of the same settings stopped."""
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=True)
    trainer.train()
    return trainer.bare_model.eval()


def write_result(cfg: CfgNode, model: nn.Module, output: Path) -> tuple[Path, Path]:
    """Write the weights and config of the network, which every tool takes; return their paths.

    Args:
        cfg: of ``one_network``; its datasets, schedule and pseudo-label settings stay for a later fine-tuning.
        model: the trained network.
        output: folder of ``model_final.pth`` and ``config.yaml``.
    """
    weights, config = output / "model_final.pth", output / "config.yaml"
    save_whole({"model": model.state_dict()}, weights)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(weights.resolve())
    cfg.OUTPUT_DIR = str(output / "fine_tuned")
    content = yaml.safe_load(cfg.dump())
    # A network grafted on a GPU runs on machines without one.
    del content["MODEL"]["DEVICE"]
    write_text(config, yaml.safe_dump(content))
    return weights, config
