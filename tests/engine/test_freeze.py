"""SOLVER.FREEZE: frozen parts keep every tensor, in supervised and mean-teacher training, and over a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine.short_runs import run
from tiny import fake_input, tiny_cfg
from torch import Tensor

from mestad_d2.engine import build_trainer
from mestad_d2.engine.optim import build_optimizer
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError
from mestad_d2.modeling.build import build_detector
from mestad_d2.modeling.frozen_parts import freeze_parts

FREEZE = ["SOLVER.FREEZE", "['backbone', 'roi_heads.predictor']"]


def snapshot(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: torch.nn.Module) -> set[str]:
    """Top-level parts with a tensor that differs."""
    return {
        name.split(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(before[name], value)
    }


def test_frozen_parts_are_not_in_the_optimiser_and_their_layers_evaluate() -> None:
    model = MESTADTrainer.build_model(tiny_cfg(*FREEZE)).train()
    optimizer = build_optimizer(tiny_cfg(*FREEZE), model)
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    expected = [p for n, p in model.named_parameters() if n.startswith(("fpn.", "proposal_generator."))]
    assert trained == {id(p) for p in expected}
    before = snapshot(model)
    losses = model([fake_input([[10, 10, 30, 60]]), fake_input([], seed=1)])
    # The containers are still in training mode: all losses are there.
    assert {"loss_action", "loss_fcos_cls"} <= set(losses)
    sum(losses.values()).backward()
    assert all(p.grad is None for n, p in model.named_parameters() if n.startswith(("backbone", "roi_heads")))
    assert not changed(before, model)  # no running mean has moved
    # Without freezing they would have.
    free = build_detector(tiny_cfg()).train()
    before = snapshot(free)
    free([fake_input([[10, 10, 30, 60]])])
    assert changed(before, free) == {"backbone"}


def test_a_frozen_action_head_still_teaches_the_backbone() -> None:
    model = MESTADTrainer.build_model(tiny_cfg("SOLVER.FREEZE", "['roi_heads']")).train()
    model([fake_input([[10, 10, 30, 60]])])["loss_action"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())


@pytest.mark.parametrize("name", ["backbon", "roi_heads.action_head", "7", ""])
def test_an_unknown_part_is_one_line_with_the_parts(name: str) -> None:
    with pytest.raises(UserError, match="backbone, fpn, proposal_generator, roi_heads") as error:
        freeze_parts(build_detector(tiny_cfg()), [name])
    assert "\n" not in str(error.value) and repr(name) in str(error.value)
    with pytest.raises(UserError, match="the whole model"):
        freeze_parts(build_detector(tiny_cfg()), ["backbone", "fpn", "proposal_generator", "roi_heads"])


@pytest.mark.parametrize("semisup", [False, True])
def test_frozen_tensors_stay_as_they_are_in_a_resumed_run(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, semisup: bool
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))
    more = [
        "SEMISUP.ENABLED",
        semisup,
        "SEMISUP.BURN_IN_ITERS",
        1,
        "SOLVER.WEIGHT_DECAY",
        0.5,
        "DATASETS.TEST",
        "()",
    ]
    cfg = tiny_cfg(
        *FREEZE, *more, "OUTPUT_DIR", tmp_path, "SOLVER.MAX_ITER", 4, "SOLVER.CHECKPOINT_PERIOD", 2
    )
    first, _ = run(cfg, stop=3)
    before = snapshot(first.bare_model)
    second, losses = run(cfg, resume=True)
    assert len(losses) == 2 and changed(before, second.bare_model) == {"fpn", "proposal_generator"}
    if semisup:
        pairs = zip(
            second.teacher.backbone.parameters(), second.bare_model.backbone.parameters(), strict=True
        )
        assert all(a is b for a, b in pairs)
        state = torch.load(tmp_path / "model_final_teacher.pth", weights_only=True)["model"]
        frozen = [n for n in state if n.startswith(("backbone", "roi_heads"))]
        assert frozen and all(torch.equal(state[n], before[n]) for n in frozen)
    other = tiny_cfg(*more, "OUTPUT_DIR", tmp_path, "SOLVER.MAX_ITER", 6)
    with pytest.raises(UserError, match=r"SOLVER\.FREEZE: the checkpoint has"):
        build_trainer(other).resume_or_load(resume=True)
