"""Convolutions over time, trained as 2-D ones, are the 3-D ones: values, gradients, keys and first weights."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_model
from tiny import tiny_cfg
from torch import nn

from mestad_d2.modeling.backbone.pathway import TemporalConv3d, ease_temporal_convolutions


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("steps", "groups", "bias"), [(3, 1, False), (5, 2, True), (7, 1, True)])
def test_values_and_gradients_are_those_of_the_3d_one(
    memory_format: torch.memory_format, steps: int, groups: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv3d(8, 6, (steps, 1, 1), padding=(steps // 2, 0, 0), groups=groups, bias=bias)
    holder = nn.Sequential(plain)
    ease_temporal_convolutions(holder)
    eased = holder[0]
    assert type(eased) is TemporalConv3d and eased.weight is plain.weight
    x = torch.randn(2, 8, 6, 4, 5).contiguous(memory_format=memory_format)
    results = []
    for conv in (plain, eased):
        given = x.clone().requires_grad_()
        y = conv(given)
        y.square().sum().backward()
        results.append((y.detach(), given.grad, conv.weight.grad.clone()))
        conv.weight.grad = None
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert eased(x.requires_grad_()).is_contiguous(memory_format=memory_format)
    with torch.no_grad():
        assert torch.equal(eased(x), plain(x))


def test_only_convolutions_over_time_alone_are_changed() -> None:
    others = [
        nn.Conv3d(4, 4, (3, 3, 3), padding=1),
        nn.Conv3d(4, 4, 1),
        nn.Conv3d(4, 4, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
        nn.Conv3d(4, 4, (3, 1, 1)),
        nn.Conv3d(4, 4, (2, 1, 1), padding=(1, 0, 0)),
    ]
    holder = nn.Sequential(*others)
    ease_temporal_convolutions(holder)
    assert [type(layer) for layer in holder] == [nn.Conv3d] * len(others)


def test_a_detector_keeps_its_keys_and_its_first_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    eased = build_model(tiny_cfg())
    assert sum(isinstance(layer, TemporalConv3d) for layer in eased.modules()) == 4
    monkeypatch.setattr("mestad_d2.modeling.backbone.pathway.ease_temporal_convolutions", lambda module: None)
    torch.manual_seed(0)
    plain = build_model(tiny_cfg())
    assert list(eased.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(eased.parameters(), plain.parameters(), strict=True))
