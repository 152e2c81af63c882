"""The FCOS head: two towers shared over levels, person logit, box distances and centerness.

Shapes: N clips, L levels, level l with H_l x W_l locations.
"""

from __future__ import annotations

import torch
from detectron2.layers import Conv2d
from torch import Tensor, nn
from torch.nn import functional as F

from mestad_d2.modeling.proposal_generator.tower import init_convolutions, prior_bias, tower


class FCOSHead(nn.Module):
    """Person logits, distances to the four sides in units of the stride, and centerness logits."""

    def __init__(
        self,
        in_channels: int,
        num_levels: int,
        *,
        channels: int = 256,
        num_convs: int = 4,
        norm: str = "GN",
        prior_prob: float = 0.01,
        centerness_on_reg: bool = True,
        relu_distances: bool = True,
    ) -> None:
        super().__init__()
        self.centerness_on_reg, self.relu_distances = centerness_on_reg, relu_distances
        self.cls_tower = tower(in_channels, channels, num_convs, norm)
        self.box_tower = tower(in_channels, channels, num_convs, norm)
        width = channels if num_convs else in_channels
        self.cls_logits = Conv2d(width, 1, kernel_size=3, padding=1)
        self.distances = Conv2d(width, 4, kernel_size=3, padding=1)
        self.centerness = Conv2d(width, 1, kernel_size=3, padding=1)
        self.scales = nn.Parameter(torch.ones(num_levels))
        init_convolutions(self)
        nn.init.constant_(self.cls_logits.bias, prior_bias(prior_prob))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Predict at all locations of all levels, level by level, row by row.

        Args:
            features: per level (N, C, H_l, W_l).

        Returns:
            person logits (N, R), distances left, top, right, bottom (N, R, 4), at least 0, and
            centerness logits (N, R), with R the sum of H_l * W_l; float32.
        """
        logits, distances, centerness = [], [], []
        for level, x in enumerate(features):
            cls, box = self.cls_tower(x), self.box_tower(x)
            logits.append(self.cls_logits(cls).flatten(1))
            raw = (self.scales[level] * self.distances(box)).float()
            # exp is clamped: an early outlier must not become an infinite box.
            positive = F.relu(raw) if self.relu_distances else raw.clamp(max=10).exp()
            distances.append(positive.flatten(2).transpose(1, 2))
            centerness.append(self.centerness(box if self.centerness_on_reg else cls).flatten(1))
        return torch.cat(logits, 1).float(), torch.cat(distances, 1), torch.cat(centerness, 1).float()
