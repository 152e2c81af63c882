"""Convolutions, their initialisation and the divisors of losses that the dense heads share."""

from __future__ import annotations

import math

import torch
from detectron2.layers import Conv2d
from detectron2.utils import comm
from torch import Tensor, nn

from mestad_d2.errors import UserError

INIT_STD = 0.01


def group_norm(channels: int) -> nn.GroupNorm:
    """Build a group norm of 32 groups as in FCOS, or of the most groups that divide ``channels``."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def tower(in_channels: int, channels: int, num_convs: int, norm: str) -> nn.Sequential:
    """Build ``num_convs`` 3x3 convolutions with norm and ReLU.

    Raises:
        UserError: the norm is neither "GN" nor "".
    """
    if norm not in ("GN", ""):
        raise UserError(f'norm {norm!r} of a dense head: give "GN" or ""')
    layers: list[nn.Module] = []
    for i in range(num_convs):
        layers.append(
            Conv2d(in_channels if i == 0 else channels, channels, kernel_size=3, padding=1, bias=norm == "")
        )
        if norm:
            layers.append(group_norm(channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def init_convolutions(module: nn.Module) -> None:
    """Initialise with normal weights of std 0.01 and zero biases (FCOS, RetinaNet)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=INIT_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def prior_bias(probability: float) -> float:
    """Return the bias at which a sigmoid gives ``probability`` (RetinaNet's initialisation)."""
    return -math.log((1 - probability) / probability)


def mean_over_ranks(value: Tensor, minimum: float = 1.0) -> Tensor:
    """Average a scalar over the processes, its sum at least ``minimum``: the normaliser of the losses."""
    value, world = value.detach(), comm.get_world_size()
    if world > 1:
        value = value.clone()
        torch.distributed.all_reduce(value)
        value = value / world
    return value.clamp(min=minimum / world)
