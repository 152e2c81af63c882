"""Convolutions that the dense heads share."""

from __future__ import annotations

import math

import torch
from detectron2.layers import Conv2d, get_norm
from torch import Tensor, nn

GN_GROUPS = 32
INIT_STD = 0.01


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or the largest number of groups that divides fewer channels."""
    return nn.GroupNorm(math.gcd(GN_GROUPS, channels), channels)


def init_head(module: nn.Module) -> None:
    """Normal weights of std 0.01 and zero biases for every convolution (FCOS, RetinaNet)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=INIT_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def conv_tower(in_channels: int, channels: int, num_convs: int, norm: str) -> nn.Sequential:
    """``num_convs`` times 3x3 convolution, norm ("GN", "" or a name that detectron2 knows), ReLU."""
    layers: list[nn.Module] = []
    for index in range(num_convs):
        layers.append(
            Conv2d(
                in_channels if index == 0 else channels,
                channels,
                kernel_size=3,
                padding=1,
                bias=norm == "",
                norm=group_norm(channels) if norm == "GN" else get_norm(norm, channels),
                activation=nn.ReLU(),
            )
        )
    return nn.Sequential(*layers)


def prior_bias(probability: float) -> float:
    """Bias at which a sigmoid gives ``probability`` (RetinaNet's start against the many negatives)."""
    return -math.log((1 - probability) / probability)


class Scale(nn.Module):
    """One learnable factor, for what a shared head gives at one level (FCOS)."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(value)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale
