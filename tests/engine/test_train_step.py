"""The inner loop stops or skips on a loss that is not finite, and says on which clips."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny import fake_input

from mestad_d2.engine.train_step import NonFiniteLossError, SupervisedStep


class OneWeight(torch.nn.Module):
    """A model whose loss is NaN for the clip named ``bad``."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch: list[dict]) -> dict[str, torch.Tensor]:
        factor = float("nan") if batch[0]["video_id"] == "bad" else 1.0
        return {"loss_a": self.weight * factor, "loss_b": self.weight * 2}


def make_step(names: list[str], **arguments: object) -> SupervisedStep:
    """A step over one-clip batches."""
    batches = [[{**fake_input([]), "video_id": name, "timestamp": 7.0}] for name in names]
    model = OneWeight()
    step = SupervisedStep(model, batches, torch.optim.SGD(model.parameters(), lr=0.1), **arguments)
    step.iter = 3
    return step


def test_nonfinite_loss_stops_with_what_is_needed(tmp_path: Path) -> None:
    step = make_step(["bad"], dump_dir=tmp_path)
    with EventStorage(), pytest.raises(NonFiniteLossError, match="iteration 3: loss_a=nan on bad at 7.0"):
        step.run_step()
    dump = torch.load(tmp_path / "nonfinite_0000003.pth", weights_only=True)
    assert dump["clips"][0].shape == (3, 4, 64, 80)
    assert float(step.model.weight) == 1.0


def test_nonfinite_batch_can_be_skipped() -> None:
    step = make_step(["bad", "good"], on_nonfinite="skip")
    with EventStorage() as storage:
        step.run_step()
        assert float(step.model.weight) == 1.0
        step.run_step()
        assert storage.latest()["total_loss"][0] == pytest.approx(3.0)
    assert float(step.model.weight.detach()) == pytest.approx(0.7)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_gradient_that_is_not_finite_is_no_step_with_or_without_clipping(
    clip: float, tmp_path: Path
) -> None:
    step = make_step(["good"] * 2, clip_total_norm=clip, dump_dir=tmp_path)
    weight = step.model.weight
    # The square root's slope at zero is infinite, its value is not.
    step.compute_losses = lambda batch: {"loss_steep": (weight - weight.detach()).abs().sqrt()}
    with (
        EventStorage(),
        pytest.raises(NonFiniteLossError, match="iteration 3: the gradient's norm is .* on good"),
    ):
        step.run_step()
    assert float(weight) == 1.0 and (tmp_path / "nonfinite_0000003.pth").is_file()


def test_half_precision_that_overflows_at_any_scale_ends_training() -> None:
    step = make_step(["good"] * 100)
    step.amp, step.scaler = True, torch.amp.GradScaler("cpu")
    step.compute_losses = lambda batch: {
        "loss_steep": step.model.weight * torch.tensor(float("inf")).clamp(max=3e38)
    }
    step.model.weight.register_hook(lambda gradient: gradient * float("inf"))
    with (
        EventStorage(),
        pytest.raises(NonFiniteLossError, match="overflows in half precision, whatever its scale"),
    ):
        for _ in range(100):
            step.run_step()
    assert float(step.model.weight) == 1.0


def test_total_norm_is_clipped() -> None:
    step = make_step(["good"], clip_total_norm=0.5)
    with EventStorage():
        step.run_step()
    assert float(step.model.weight.detach()) == pytest.approx(1 - 0.1 * 0.5)
