"""The teacher follows the student as the closed form says, statistics of BN too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mestad_d2.semisup.ema import ModelEMA


def make_model() -> nn.Module:
    """Parameters, float buffers and an integer buffer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("ramp", [True, False])
def test_closed_form_after_k_updates(ramp: bool) -> None:
    student = make_model()
    ema = ModelEMA(student, decay=0.9, ramp=ramp)
    history = [{k: v.clone().double() for k, v in student.state_dict().items()}]
    for _ in range(100):
        student(torch.randn(8, 3))
        with torch.no_grad():
            for p in student.parameters():
                p.add_(torch.randn_like(p))
        ema.update(student)
        history.append({k: v.clone().double() for k, v in student.state_dict().items()})
    decays = [min(0.9, (1 + k) / (10 + k)) if ramp else 0.9 for k in range(100)]
    for name, value in ema.model.state_dict().items():
        # sum_k (1 - d_k) * prod_{j > k} d_j * student_k, the first term being the start.
        want = history[0][name] * torch.tensor(decays).double().prod()
        for k, decay in enumerate(decays):
            want = want + (1 - decay) * torch.tensor(decays[k + 1 :]).double().prod() * history[k + 1][name]
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), want, rtol=1e-4, atol=1e-5)
        else:
            assert int(value) == int(history[-1][name]) == 100
    assert ema.updates == 100


def test_teacher_is_apart_in_eval_and_without_gradients() -> None:
    student = make_model()
    ema = ModelEMA(student)
    assert not ema.model.training and student.training
    assert not any(p.requires_grad for p in ema.model.parameters())
    assert all(p.requires_grad for p in student.parameters())
    mine = {p.data_ptr() for p in ema.model.state_dict().values()}
    assert not mine & {p.data_ptr() for p in student.state_dict().values()}


def test_state_round_trip_and_copy() -> None:
    student = make_model()
    ema = ModelEMA(student, decay=0.5, ramp=False)
    with torch.no_grad():
        student[0].weight.add_(1)
    ema.update(student)
    other = ModelEMA(make_model(), decay=0.5, ramp=False)
    other.load_state_dict(ema.state_dict())
    assert other.updates == 1
    torch.testing.assert_close(other.model.state_dict(), ema.model.state_dict())
    ema.copy_from(student)
    assert ema.updates == 0
    torch.testing.assert_close(ema.model[0].weight, student[0].weight.detach())


def test_bad_decay() -> None:
    with pytest.raises(ValueError, match="decay"):
        ModelEMA(make_model(), decay=1.5)


def test_frozen_parameters_are_shared_and_never_averaged() -> None:
    student = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    student[0].requires_grad_(False)
    ema = ModelEMA(student, decay=0.5, ramp=False)
    assert ema.model[0].weight is student[0].weight and ema.model[1].weight is not student[1].weight
    before = student[0].weight.clone(), ema.model[1].weight.clone()
    with torch.no_grad():
        student[1].weight += 1
    ema.update(student)
    assert torch.equal(student[0].weight, before[0])
    torch.testing.assert_close(ema.model[1].weight, before[1] + 0.5)
    assert not any(p.requires_grad for p in ema.model.parameters()) and student[1].weight.requires_grad
