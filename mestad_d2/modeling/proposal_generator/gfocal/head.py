"""The GFocalV2 head: distances as distributions, whose shape predicts a box's quality.

Shapes: N clips, R cells of all levels, M = largest distance in strides.
"""

from __future__ import annotations

import torch
from detectron2.layers import Conv2d
from torch import Tensor, nn

from mestad_d2.modeling.proposal_generator.tower import init_convolutions, prior_bias, tower


class QualityEstimator(nn.Module):
    """Quality (N, 1, H, W) from distributions (N, 4 * (M + 1), H, W): GFocalV2, section 3.2."""

    def __init__(self, topk: int, hidden: int) -> None:
        super().__init__()
        self.topk = topk
        # Per side the largest probabilities and their mean.
        self.layers = nn.Sequential(
            Conv2d(4 * (topk + 1), hidden, kernel_size=1),
            nn.ReLU(),
            Conv2d(hidden, 1, kernel_size=1),
            nn.Sigmoid(),
        )

    def forward(self, logits: Tensor) -> Tensor:
        largest = logits.unflatten(1, (4, -1)).softmax(dim=2).topk(self.topk, dim=2).values
        statistics = torch.cat([largest, largest.mean(dim=2, keepdim=True)], dim=2)
        return self.layers(statistics.flatten(1, 2))


class GFocalHead(nn.Module):
    """Class and box tower shared over levels, and the quality estimator between them."""

    def __init__(
        self,
        in_channels: int,
        num_levels: int,
        *,
        channels: int = 256,
        num_convs: int = 4,
        norm: str = "GN",
        prior_prob: float = 0.01,
        reg_max: int = 16,
        quality_topk: int = 4,
        quality_dim: int = 64,
    ) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.cls_tower = tower(in_channels, channels, num_convs, norm)
        self.box_tower = tower(in_channels, channels, num_convs, norm)
        width = channels if num_convs else in_channels
        self.cls_logits = Conv2d(width, 1, kernel_size=3, padding=1)
        self.distributions = Conv2d(width, 4 * (reg_max + 1), kernel_size=3, padding=1)
        self.quality = QualityEstimator(quality_topk, quality_dim)
        self.scales = nn.Parameter(torch.ones(num_levels))
        init_convolutions(self)
        nn.init.constant_(self.cls_logits.bias, prior_bias(prior_prob))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Predict at all cells, level by level, row by row.

        Args:
            features: per level (N, C, H_l, W_l).

        Returns:
            scores (N, R) in [0, 1], class times quality, and logits (N, R, 4, M + 1) of the distances
            left, top, right, bottom in strides; float32.
        """
        scores, distributions = [], []
        for level, x in enumerate(features):
            logits = self.scales[level] * self.distributions(self.box_tower(x))
            quality = self.quality(logits).float()
            scores.append((self.cls_logits(self.cls_tower(x)).float().sigmoid() * quality).flatten(1))
            distributions.append(logits.float().flatten(2).transpose(1, 2).unflatten(2, (4, -1)))
        return torch.cat(scores, 1), torch.cat(distributions, 1)
