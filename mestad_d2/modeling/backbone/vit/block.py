"""Transformer blocks as VideoMAE names their tensors, and what backbones made of blocks have in common."""

from __future__ import annotations

import torch
from detectron2.modeling import Backbone
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
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


def initialise(module: nn.Module) -> None:
    """Initialise linear layers as transformers are: a normal distribution of deviation 0.02, no bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def run_block(block: nn.Module, tokens: Tensor, recompute: bool) -> Tensor:
    """Apply a block; ``recompute`` does so again in the backward pass in place of keeping its activations."""
    if recompute and torch.is_grad_enabled() and tokens.requires_grad:
        return checkpoint(block, tokens, use_reentrant=False)
    return block(tokens)


def drop_rates(last: float, depth: int) -> list[float]:
    """Return the drop-path rate of each block, growing linearly from 0 to ``last``."""
    return [last * i / max(depth - 1, 1) for i in range(depth)]


class LayeredBackbone(Backbone):
    """A backbone of a stem, blocks in order of depth, and layers after them (``num_layers``).

    Gives learning rates by depth (``SOLVER.LAYER_DECAY``), and freezes the stem and the first blocks, which then stay
    in eval mode.

    Attributes:
        STEM: names of the parts before the blocks.
        BLOCKS: name of the list of blocks.
    """

    STEM: tuple[str, ...]
    BLOCKS: str

    def freeze(self, count: int) -> None:
        """Freeze the stem and the first ``count`` blocks; -1: all of the module that contains them.

        Raises:
            UserError: there are fewer blocks.
        """
        depth = self.num_layers - 1
        if not -1 <= count <= depth:
            raise UserError(
                f"MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS {count}: the backbone has {depth} blocks; "
                f"use 0 to {depth}, or -1 for all of it"
            )
        blocks = [f"{self.BLOCKS}.{index}" for index in range(count)]
        names = [self.BLOCKS.rpartition(".")[0]] if count < 0 else [*self.STEM, *blocks] if count else []
        parts = [self._part(name) for name in names]
        for part in parts:
            part.requires_grad_(False)
        self.frozen = [part for part in parts if isinstance(part, nn.Module)]

    def _part(self, name: str) -> nn.Module | nn.Parameter:
        owner, _, leaf = name.rpartition(".")
        return getattr(self.get_submodule(owner), leaf)

    def train(self, mode: bool = True) -> LayeredBackbone:
        """Set the mode; frozen parts stay in eval mode, without drop path."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def layer_of(self, name: str) -> int:
        """Return a parameter's depth for layer-wise learning rates: 0 for the stem, then the blocks, then all else."""
        if name.startswith(self.BLOCKS + "."):
            return int(name[len(self.BLOCKS) + 1 :].split(".")[0]) + 1
        return 0 if name.startswith(self.STEM) else self.num_layers

    @property
    def num_layers(self) -> int:
        """Depth of the layers after the blocks."""
        return len(self.get_submodule(self.BLOCKS)) + 1
