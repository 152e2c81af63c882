"""Both phases end to end: interrupted runs, both networks' figures, and the teacher that people get."""

from __future__ import annotations

import runpy
from argparse import Namespace
from pathlib import Path

import cv2
import pytest
import torch
from engine.short_runs import run
from tiny import ROOT, SMALLER, tiny_cfg

from mestad_d2.engine import build_trainer
from mestad_d2.engine.mean_teacher.trainer import TLATrainer
from mestad_d2.errors import UserError

# The teacher of a network that has learnt nothing must find boxes, or the second phase would be empty.
SEMISUP = [
    "SEMISUP.ENABLED", True, "SEMISUP.BURN_IN_ITERS", 3, "MODEL.FCOS.PRIOR_PROB", 0.3, "SOLVER.CHECKPOINT_PERIOD", 2,
    "SEMISUP.TEACHER_SCORE_THRESH", 0.05, "DATASETS.TEST", "()", "MODEL.ROI_ACTION_HEAD.DROPOUT", 0.0,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _datasets(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))


def train(
    output: Path, *opts: object, iterations: int = 8, resume: bool = False, stop: int | None = None
) -> tuple[TLATrainer, list[dict[str, float]]]:
    """Losses by name of each iteration; ``stop`` interrupts the run after so many."""
    cfg = tiny_cfg(*SEMISUP, "OUTPUT_DIR", output, "SOLVER.MAX_ITER", iterations, *opts)
    return run(cfg, resume, stop)


@pytest.fixture(scope="module")
def whole(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The uninterrupted run: iterations 0-2 burn-in, 3-7 with the teacher."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(toy))
        return train(tmp_path_factory.mktemp("whole"))[1]


# The newest checkpoint holds 2 (burn-in), 4 and 6 iterations (teacher).
@pytest.mark.parametrize(("stop", "kept"), [(3, 2), (5, 4), (7, 6)])
def test_resumed_losses_equal_the_uninterrupted_run(
    whole: list[dict], tmp_path: Path, stop: int, kept: int
) -> None:
    _, first = train(tmp_path, stop=stop)
    _, rest = train(tmp_path, resume=True)
    assert len(whole) == 8 and len(rest) == 8 - kept
    for got, want in [*zip(first, whole, strict=False), *zip(rest, whole[kept:], strict=True)]:
        assert got == pytest.approx(want, abs=1e-6)
    assert "loss_action_sup" in whole[2] and "loss_action_unsup" not in whole[2]
    assert {"loss_action_sup", "loss_action_unsup"} <= set(whole[3])
    assert sum(step["loss_action_unsup"] for step in whole[3:]) > 0


def test_both_are_evaluated_and_the_teacher_is_exported(tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, "DATASETS.TEST", "('toy_val',)", iterations=5)
    results = trainer._last_eval_results
    assert {"frame_map", "person", "student/frame_map", "student/person"} <= set(results)
    assert (tmp_path / "inference" / "toy_val").is_dir() and (
        tmp_path / "student" / "inference" / "toy_val"
    ).is_dir()
    assert trainer.demo_weights() == tmp_path / "model_final_teacher.pth"
    saved = torch.load(trainer.demo_weights(), weights_only=True)["model"]
    assert trainer.demo_model() is trainer.teacher is not trainer.bare_model
    torch.testing.assert_close(saved, dict(trainer.teacher.state_dict()), rtol=0, atol=0)
    assert any(not torch.equal(saved[k], v) for k, v in trainer.bare_model.state_dict().items())
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert set(final["trainer"]["step"]) >= {"optimizer", "teacher", "labeler"}
    # The teacher's file is a start for further training, which begins with its own burn-in.
    again = build_trainer(
        tiny_cfg(*SEMISUP, "OUTPUT_DIR", tmp_path / "b", "MODEL.WEIGHTS", trainer.demo_weights())
    )
    again.resume_or_load(resume=False)
    assert again.teacher is None
    torch.testing.assert_close(dict(again.bare_model.state_dict()), saved, rtol=0, atol=0)


def test_starts_from_burnt_in_weights(tmp_path: Path) -> None:
    train(tmp_path / "burn_in", iterations=2)
    weights = tmp_path / "burn_in" / "model_final.pth"
    opts = [
        "MODEL.WEIGHTS",
        weights,
        "SEMISUP.BURN_IN_ITERS",
        0,
        "SEMISUP.EMA_DECAY",
        1.0,
        "SEMISUP.EMA_RAMP",
        False,
    ]
    trainer, losses = train(tmp_path / "teacher", *opts, iterations=2)
    assert all("loss_action_unsup" in step for step in losses)
    saved = torch.load(weights, weights_only=True)["model"]
    # A teacher that never moves is the network it began as.
    for name, value in trainer.teacher.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, saved[name])


@pytest.mark.parametrize("name", ["EMA", "HardThreshold", "PerClassThreshold"])
def test_other_strategies_train_and_resume(tmp_path: Path, name: str) -> None:
    opts = ["SEMISUP.PSEUDO_LABELER", name, "SEMISUP.BURN_IN_ITERS", 1, "SEMISUP.HARD_THRESHOLD", 0.3]
    _, whole = train(tmp_path / "a", *opts, iterations=4)
    train(tmp_path / "b", *opts, iterations=4, stop=3)
    trainer, rest = train(tmp_path / "b", *opts, iterations=4, resume=True)
    assert [pytest.approx(step, abs=1e-6) for step in whole[2:]] == rest
    assert ("thresholds" in trainer._trainer.labeler.state_dict()) == (name == "PerClassThreshold")


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (["MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals"], "find people"),
        (["MODEL.ROI_ACTION_HEAD.TRAIN_BOXES", "external"], "external boxes"),
        (["SEMISUP.PSEUDO_LABELER", "nothing"], "PSEUDO_LABELER"),
    ],
)
def test_configs_that_cannot_work_are_one_line(tmp_path: Path, opts: list, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_trainer(tiny_cfg(*SEMISUP, "OUTPUT_DIR", tmp_path, *opts))


def test_pictures_show_who_was_given_whose_labels(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path, iterations=2)
    tool = runpy.run_path(str(ROOT / "tools" / "visualize_tla.py"))
    opts = [*SMALLER, *SEMISUP, "INPUT.CROP.ENABLED", False, "MODEL.WEIGHTS", tmp_path / "model_final.pth"]
    config = ROOT / "configs" / "toy" / "SlowOnly_tiny_TLA.yaml"
    output = tmp_path / "pictures"
    tool["main"](Namespace(config_file=config, output=output, clips=2, judge=3, opts=[str(o) for o in opts]))
    pictures = sorted(output.glob("*.png"))
    assert [path.name for path in pictures] == ["000.png", "001.png"]
    # Three panels of the whole frame, enlarged to one height, below their titles.
    assert cv2.imread(str(pictures[0])).shape[0] == 360 + 26
    shown = capsys.readouterr().out
    assert "2 pictures" in shown and "exact_thresholded" in shown
