"""One seed of the graft experiment: train two-stage on ground truth, graft on simulated boxes, evaluate both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.engine import build_trainer
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.formats.files import write_json
from mestad_d2.graft.training import one_network, train, trained_parts, training_cfg, write_result
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector
from mestad_d2.reproduce.graft.data import GraftData
from mestad_d2.reproduce.tables import CONFIGS

# Person heads that are grafted: that of the small configs, a wider one with a finer pyramid, and the small one with a
# path of its own on the key frame's pixels, as tools/graft.py has it.
HEADS: dict[str, list] = {
    "graft": ["MODEL.FPN.KEYFRAME_PATH.WIDTH", 0],
    "graft_wide": [
        *("MODEL.FPN.KEYFRAME_PATH.WIDTH", 0),
        *("MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4"], "MODEL.FPN.OUT_CHANNELS", 128),
        *("MODEL.FCOS.IN_FEATURES", ["p2", "p3", "p4", "p5"], "MODEL.FCOS.SIZES_OF_INTEREST", [32, 64, 128]),
        *("MODEL.FCOS.NUM_CONVS", 4, "MODEL.FCOS.CONV_DIM", 128),
    ],
    "graft_path": ["MODEL.FPN.KEYFRAME_PATH.WIDTH", 32],
}


def two_stage_cfg(data: GraftData, folder: Path, decoded: Path, seed: int, iterations: int) -> CfgNode:
    """Return the config of the two-stage model: trained on ground-truth boxes, tested on simulated ones."""
    changes = {
        "_BASE_": str(CONFIGS / data.config),
        "MODEL": {
            "PROPOSAL_GENERATOR": {"NAME": "PrecomputedProposals"},
            "ROI_ACTION_HEAD": {"TRAIN_BOXES": "gt", "TEST_BOXES": "external", "LOSS_WEIGHT": 1.0, "SPATIAL_POOL": "avg"},
        },
        "DATASETS": {
            "CUSTOM": [data.train, data.test],
            "TRAIN": [data.train["NAME"]],
            "TEST": [data.test["NAME"]],
            "PERSON_BOXES_TEST": [str(data.test_boxes)],
        },
        "INPUT": {"CLIP": {"DECODED_DIR": str(decoded), "CACHE_MB": 0}},
        "DATALOADER": {"NUM_WORKERS": 2},
        "SOLVER": {"MAX_ITER": iterations, "CHECKPOINT_PERIOD": max(iterations // 4, 1)},
        "TEST": {"BATCH_SIZE": 16, "PROTOCOLS": ["activitynet"]},
        "SEED": seed,
        "OUTPUT_DIR": str(folder / "two_stage"),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "two_stage.yaml").write_text(yaml.safe_dump(changes, sort_keys=False))
    cfg = setup_cfg(folder / "two_stage.yaml", freeze=False)
    cfg.SOLVER.WARMUP_ITERS = min(cfg.SOLVER.WARMUP_ITERS, iterations // 10)
    return cfg


def evaluate(cfg: CfgNode, name: str) -> dict[str, float]:
    """Evaluate ``MODEL.WEIGHTS`` on ``DATASETS.TEST``: frame-mAP and person AP50 in percent."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR).parent / name)
    model = build_detector(cfg)
    MESTADCheckpointer(model, cfg=cfg).load_trained(cfg.MODEL.WEIGHTS)
    results = MESTADTrainer.test(cfg, model.eval())
    return {
        f"{name}_map": round(results["frame_map"]["mAP"], 3),
        f"{name}_person": round(results["person"]["AP50"], 3),
    }


def run_seed(
    data: GraftData,
    folder: Path,
    decoded: Path,
    seed: int,
    iterations: tuple[int, int],
    rate: float,
    heads: Sequence[str] = tuple(HEADS),
) -> dict:
    """Run one seed; an interrupted one goes on from its last checkpoint.

    Args:
        data: of the dataset.
        folder: of this run; ``result.json`` in it is written after every part.
        decoded: folder of decoded videos, shared by all runs.
        seed: of all trainings.
        iterations: of the two-stage training and of each graft.
        rate: learning rate of the grafts.
        heads: names of ``HEADS`` to graft.

    Returns:
        frame-mAP and person AP50 in percent of the two-stage model, of a graft with each of the heads, and of the first
        graft's action head on the simulated boxes, which must be the two-stage model's.
    """
    began, cfg = time.perf_counter(), two_stage_cfg(data, folder, decoded, seed, iterations[0])
    result: dict[str, Any] = {"seed": seed, "iterations": list(iterations), "finished": False}
    result["device"] = torch.cuda.get_device_name() if cfg.MODEL.DEVICE == "cuda" else "cpu"
    seed_all_rng(seed)
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=True)
    trainer.train()
    cfg.MODEL.WEIGHTS = str(trainer.demo_weights())
    del trainer
    result["two_stage_seconds"] = round(time.perf_counter() - began, 1)
    result |= evaluate(cfg, "two_stage")
    write_json(folder / "result.json", result)
    for name in heads:
        began = time.perf_counter()
        one = graft(cfg, HEADS[name], data, folder / name, seed, iterations[1], rate)
        result[f"{name}_seconds"] = round(time.perf_counter() - began, 1)
        result |= evaluate(one, name)
        result[f"{name}_ratio"] = round(result[f"{name}_map"] / max(result["two_stage_map"], 1e-9), 4)
        write_json(folder / "result.json", result)
    one = setup_cfg(folder / heads[0] / "config.yaml", freeze=False)
    one.DATASETS.PERSON_BOXES_TEST = (str(data.test_boxes),)
    one.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "external"
    result |= evaluate(one, "on_boxes") | {"finished": True}
    write_json(folder / "result.json", result)
    return result


def graft(
    cfg: CfgNode,
    options: Sequence[Any],
    data: GraftData,
    folder: Path,
    seed: int,
    iterations: int,
    rate: float,
) -> CfgNode:
    """Train a person head onto the two-stage model of ``cfg`` and its weights; return the config that was written."""
    grafted = one_network(cfg)
    grafted.merge_from_list(list(options))
    plan = training_cfg(
        grafted, trained_parts(grafted), data.unlabelled, data.videos, folder,
        iterations=iterations, batch=8, solver=["SOLVER.BASE_LR", rate],
    )  # fmt: skip
    seed_all_rng(seed)
    _, config = write_result(grafted, train(plan), folder)
    return setup_cfg(config)
