"""Transformer blocks as VideoMAE names their tensors, with fused attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from mestad_d2.errors import UserError


class Attention(nn.Module):
    """Self-attention of tokens whose queries and values have a bias and whose keys have none."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend over tokens (N, L, C); same shape out."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(tokens, self.qkv.weight, bias)
        query, key, value = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply the MLP to tokens (N, L, C); same shape out."""
        return self.fc2(self.act(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and MLP, each after a norm and beside a shortcut that training drops with ``drop_path``."""

    def __init__(self, width: int, heads: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, hidden)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply the block to tokens (N, L, C); same shape out."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


def freeze(whole: nn.Module, stem: nn.Module, blocks: Sequence[nn.Module], count: int) -> list[nn.Module]:
    """Freeze ``stem`` and the first ``count`` blocks, or ``whole`` with -1; return the frozen modules.

    Raises:
        UserError: there are fewer blocks.
    """
    depth = len(blocks)
    if not -1 <= count <= depth:
        raise UserError(
            f"MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS {count}: the backbone has {depth} blocks; "
            f"use 0 to {depth}, or -1 for all of it"
        )
    frozen = [whole] if count < 0 else [stem, *blocks[:count]] if count else []
    for part in frozen:
        part.requires_grad_(False)
    return frozen
