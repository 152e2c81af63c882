"""Every yaml under configs/ builds and makes its trainer's steps at reduced size; one at its full size."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from tiny import ROOT, fake_input
from torch import nn

from mestad_d2.engine.mean_teacher import trainer as tla_trainer
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.load_config import setup_cfg
from mestad_d2.semisup.labelers import PseudoLabeler

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
# SGD at the convolutions' learning rate ruins them.
TRANSFORMERS = {f"build_{name}_backbone" for name in ("videomae", "hiera", "mvit", "swin", "vivit", "vjepa2")}
PEOPLE = [[5, 5, 40, 60], [50, 4, 78, 62]]
REDUCED = [
    "MODEL.DEVICE", "cpu", "MODEL.VIDEO_RESNET.WIDTH", "8", "MODEL.FPN.OUT_CHANNELS", "32",
    "MODEL.FCOS.CONV_DIM", "32", "MODEL.FCOS.NUM_CONVS", "1", "MODEL.ROI_BOX_HEAD.FC_DIM", "16",
    "MODEL.VIDEO_BACKBONE.WIDTH", "48", "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1,1,1,1]",
    # The schedule, which warms up, is not part of a step; an untrained teacher finds nobody otherwise.
    "SOLVER.BASE_LR", "0.001", "SEMISUP.TEACHER_SCORE_THRESH", "0.0", "SEMISUP.BURN_IN_ITERS", "1",
]  # fmt: skip


def clip(cfg: CfgNode, seed: int) -> dict:
    """A labelled clip of noise with the config's actions, and its boxes as external ones."""
    item = fake_input(PEOPLE, frames=min(cfg.INPUT.CLIP.NUM_FRAMES, 16), size=(64, 96), seed=seed)
    people = item["instances"]
    people.gt_actions = torch.eye(cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES)[:2]
    # Only the configs on external boxes look at them.
    boxes = {"proposal_boxes": people.gt_boxes, "objectness_logits": torch.ones(2)}
    return {**item, "proposals": Instances((64, 96), **boxes)}


def unlabeled_clip(cfg: CfgNode, seed: int) -> dict:
    """The same without labels of its own, between two key frames."""
    item = clip(cfg, seed)
    people = item.pop("instances")
    return {**item, "clip_weak": item["clip"], "left_instances": people, "right_instances": people}


def fit(cfg: CfgNode, _teacher: nn.Module, labeler: PseudoLabeler) -> None:
    """What a strategy learns from the training set, of noise."""
    classes = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    labeler.fit(torch.rand(50, classes), torch.full((classes,), 5))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_builds_and_makes_a_step(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    cfg = setup_cfg(path, [*REDUCED, "OUTPUT_DIR", str(tmp_path)])
    if cfg.MODEL.BACKBONE.NAME in ("build_vivit_backbone", "build_vjepa2_backbone"):
        pytest.importorskip("transformers", reason="this backbone needs the extra transformers")
    assert cfg.SOLVER.OPTIMIZER == "AdamW" or cfg.MODEL.BACKBONE.NAME not in TRANSFORMERS
    trainer = tla_trainer.TLATrainer if cfg.SEMISUP.ENABLED else MESTADTrainer
    monkeypatch.setattr(trainer, "build_train_loader", lambda cfg: ([clip(cfg, i)] for i in range(2)))
    unlabeled = ([unlabeled_clip(cfg, i)] for i in itertools.count(2))
    monkeypatch.setattr(tla_trainer, "build_unlabeled_loader", lambda cfg: unlabeled)
    monkeypatch.setattr(tla_trainer, "fit_to_training_set", fit)
    monkeypatch.setattr(tla_trainer, "dense_judge", lambda cfg: None)
    model = build_model(cfg)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step = trainer.build_step(cfg, model, trainer.build_optimizer(cfg, model))
    with EventStorage() as storage:
        # With a teacher, burn-in and then a step on pseudo labels too.
        for step.iter in range(2 if cfg.SEMISUP.ENABLED else 1):
            step.run_step()
        losses = {name: float(value[0]) for name, value in storage.latest().items() if "loss" in name}
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name.split(".")[0] for name in before}
    assert all(math.isfinite(value) for value in losses.values())
    if not cfg.SEMISUP.ENABLED:
        # At its own scale, ten times that where the losses of the person head are beside it.
        # Learned proposals may meet nobody in one step.
        assert losses["loss_action"] < (20 if "published" in path.parts else 200)
        return
    assert step.started and "loss_action_sup" in losses
    assert ("loss_action_unsup" in losses) == (cfg.SEMISUP.PSEUDO_LABELER != "EMA")
    teacher = step.ema.model.state_dict()
    assert any(not torch.equal(p, teacher[name]) for name, p in model.named_parameters())


@pytest.mark.slow
def test_slowfast_r50_at_its_full_size() -> None:
    torch.manual_seed(0)
    cfg = setup_cfg(ROOT / "configs" / "AVA-v2.2" / "SlowFast_R50_8x8.yaml", ["MODEL.DEVICE", "cpu"])
    model = build_model(cfg).train()
    item = fake_input([[30, 40, 120, 220], [130, 20, 220, 240]], frames=32, size=(256, 256))
    item["instances"].gt_actions = torch.zeros(2, 80)
    losses = model([item])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    found = model.eval()([item])[0]["instances"]
    assert found.pred_actions.shape == (len(found), 80) and len(found) <= 10
