"""One refinement of all proposals (Sparse R-CNN, section 3.2).

Shapes: N clips, Q proposals a clip, C channels of a proposal's feature, D of the dynamic convolution,
S the pooler's resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mestad_d2.modeling.proposal_generator.tower import prior_bias


class DynamicConv(nn.Module):
    """Two 1x1 convolutions of a proposal's features at P ``positions``, with weights made from its own feature."""

    def __init__(self, channels: int, dynamic: int, positions: int) -> None:
        super().__init__()
        self.channels, self.dynamic = channels, dynamic
        self.weights = nn.Linear(channels, 2 * channels * dynamic)
        self.norm_in, self.norm_out = nn.LayerNorm(dynamic), nn.LayerNorm(channels)
        self.out = nn.Linear(channels * positions, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, feature: Tensor, pooled: Tensor) -> Tensor:
        """Combine (R, C) and pooled (R, C, P) to (R, C)."""
        first, second = self.weights(feature).chunk(2, dim=1)
        x = pooled.transpose(1, 2)
        x = self.norm_in(torch.bmm(x, first.unflatten(1, (self.channels, self.dynamic)))).relu()
        x = self.norm_out(torch.bmm(x, second.unflatten(1, (self.dynamic, self.channels)))).relu()
        return self.norm(self.out(x.flatten(1))).relu()


def _branch(channels: int, layers: int, outputs: int) -> nn.Sequential:
    hidden: list[nn.Module] = []
    for _ in range(layers):
        hidden += [nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(channels, outputs))


class RefineStage(nn.Module):
    """Attention among proposals, dynamic convolution, feed-forward layer; then person logit and deltas."""

    def __init__(
        self,
        channels: int,
        *,
        dynamic: int,
        feedforward: int,
        num_heads: int,
        num_cls_layers: int,
        num_reg_layers: int,
        resolution: int,
        prior_prob: float,
    ) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        self.interact = DynamicConv(channels, dynamic, resolution**2)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, feedforward), nn.ReLU(), nn.Linear(feedforward, channels)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in range(3)])
        self.cls_branch = _branch(channels, num_cls_layers, 1)
        self.reg_branch = _branch(channels, num_reg_layers, 4)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.constant_(self.cls_branch[-1].bias, prior_bias(prior_prob))

    def forward(self, features: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Refine boxes and proposal features once.

        Args:
            features: (N, Q, C) of the proposals.
            pooled: (N * Q, C, S, S), from the pyramid at the proposals' boxes.

        Returns:
            person logits (N, Q), box deltas (N, Q, 4), and the proposals' new features (N, Q, C).
        """
        attended, _ = self.attention(features, features, features, need_weights=False)
        features = self.norms[0](features + attended)
        changed = self.interact(features.flatten(0, 1), pooled.flatten(2)).view_as(features)
        features = self.norms[1](features + changed)
        features = self.norms[2](features + self.feedforward(features))
        return self.cls_branch(features).squeeze(2).float(), self.reg_branch(features).float(), features
