"""The pieces that all dense heads share."""

from __future__ import annotations

import pytest
import torch
from detectron2.utils import comm
from torch import nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.tower import group_norm, mean_over_ranks, prior_bias, tower


def test_divisor_alone_is_the_value_or_its_minimum():
    value = torch.tensor(5.0, requires_grad=True)
    assert mean_over_ranks(value) == 5.0 and not mean_over_ranks(value).requires_grad
    assert mean_over_ranks(torch.tensor(0.25)) == 1.0
    assert mean_over_ranks(torch.tensor(0.25), minimum=0.1) == 0.25


def test_divisor_is_the_mean_over_processes(monkeypatch):
    monkeypatch.setattr(comm, "get_world_size", lambda: 4)
    # Three other processes hold 10 each.
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(30.0))
    value = torch.tensor(2.0)
    assert mean_over_ranks(value) == 8.0
    assert value == 2.0


@pytest.mark.parametrize("channels, groups", [(256, 32), (48, 16), (20, 4), (8, 8)])
def test_group_norm_takes_any_channels(channels, groups):
    assert group_norm(channels).num_groups == groups


def test_tower_layers():
    kinds = [type(layer).__name__ for layer in tower(3, 8, 2, "GN")]
    assert kinds == ["Conv2d", "GroupNorm", "ReLU"] * 2
    plain = tower(3, 8, 2, "")
    assert [type(layer).__name__ for layer in plain] == ["Conv2d", "ReLU"] * 2
    assert all(layer.bias is not None for layer in plain if isinstance(layer, nn.Conv2d))
    with pytest.raises(UserError, match="BN"):
        tower(3, 8, 2, "BN")


def test_prior():
    assert torch.tensor(prior_bias(0.01)).sigmoid().item() == pytest.approx(0.01)
