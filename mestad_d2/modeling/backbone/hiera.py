"""Hiera (arXiv 2306.00989) for video: a transformer of four stages without convolutions or relative positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from mestad_d2.modeling.backbone.library import channel_norm, check_clip, stage_blocks, variant
from mestad_d2.modeling.backbone.pathway import STAGES
from mestad_d2.modeling.backbone.vit.block import MLP, LayeredBackbone, drop_rates, initialise, run_block
from mestad_d2.modeling.backbone.vit.positions import resize_positions

# Clip size of its positions: frames and side in pixels; frames and pixels of a patch.
FRAMES, SIDE, TUBELET, PATCH = 16, 224, 2, 4
# Side of the attention windows in tokens of the first stage; each stage halves it, the last two have none.
WINDOW = 8


@dataclass(frozen=True)
class HieraSpec:
    """Channels and heads of res2 (each stage doubles both), blocks of res2..res5."""

    width: int
    heads: int
    blocks: tuple[int, int, int, int]


VARIANTS = {
    "b": HieraSpec(96, 1, (2, 3, 16, 3)),
    "b+": HieraSpec(112, 2, (2, 3, 16, 3)),
    "l": HieraSpec(144, 2, (2, 6, 36, 4)),
    "h": HieraSpec(256, 4, (2, 6, 36, 4)),
}


def halve(x: Tensor) -> Tensor:
    """Take the maximum of 2x2 cells of (N, T, H, W, ...)."""
    return x.unflatten(3, (x.shape[3] // 2, 2)).unflatten(2, (x.shape[2] // 2, 2)).amax(dim=(3, 5))


def windows(x: Tensor, side: int) -> Tensor:
    """Cut (N, T, H, W, ...) into windows of one frame: (N * T * H / side * W / side, side * side, ...)."""
    height, width = x.shape[2:4]
    x = x.unflatten(3, (width // side, side)).unflatten(2, (height // side, side))
    return x.transpose(3, 4).flatten(0, 3).flatten(1, 2)


class Attention(nn.Module):
    """Self-attention within windows of one frame, or of all tokens where ``window`` is 0.

    ``pool``: queries are the maximum of 2x2 tokens, so that half as many rows and columns come out. ``window`` counts
    tokens of the input.
    """

    def __init__(self, width_in: int, width: int, heads: int, window: int, pool: bool) -> None:
        super().__init__()
        self.heads, self.window, self.pool = heads, window, pool
        self.qkv, self.proj = nn.Linear(width_in, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over tokens (N, T, H, W, C)."""
        query, key, value = self.qkv(x).unflatten(4, (3, self.heads, -1)).unbind(4)
        query = halve(query) if self.pool else query
        grid = query.shape[:4]
        if self.window:
            key, value = windows(key, self.window), windows(value, self.window)
            side = self.window // 2 if self.pool else self.window
            query = windows(query, side)
        else:
            query, key, value = (part.flatten(1, 3) for part in (query, key, value))
        attended = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (query, key, value)))
        attended = attended.transpose(1, 2).flatten(2)
        if self.window:
            n, t, height, width = grid
            attended = attended.view(n, t, height // side, width // side, side, side, -1).transpose(3, 4)
        return self.proj(attended.reshape(*grid, -1))


class HieraBlock(nn.Module):
    """Attention and MLP, each after a norm and beside a shortcut that training drops with ``drop_path``.

    The first block of a stage (``width`` differs from ``width_in``) halves rows and columns.
    """

    def __init__(self, width_in: int, width: int, heads: int, window: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width_in, eps=1e-6)
        self.attn = Attention(width_in, width, heads, window, pool=width_in != width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, 4 * width)
        if width_in != width:
            self.proj = nn.Linear(width_in, width)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to tokens (N, T, H, W, C)."""
        normed = self.norm1(x)
        x = halve(self.proj(normed)) if self.attn.pool else x
        x = x + self.drop_path(self.attn(normed))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class HieraTrunk(nn.Module):
    """Patch embedding, positions, blocks and a last norm, with Hiera's names of tensors."""

    def __init__(self, spec: HieraSpec, drop_path: float) -> None:
        super().__init__()
        kernel, stride, padding = (3, 7, 7), (TUBELET, PATCH, PATCH), (1, 3, 3)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, spec.width, kernel, stride, padding)})
        self.pos_embed_spatial = nn.Parameter(torch.empty(1, (SIDE // PATCH) ** 2, spec.width))
        self.pos_embed_temporal = nn.Parameter(torch.empty(1, FRAMES // TUBELET, spec.width))
        nn.init.trunc_normal_(self.pos_embed_spatial, std=0.02)
        nn.init.trunc_normal_(self.pos_embed_temporal, std=0.02)
        rates = iter(drop_rates(drop_path, sum(spec.blocks)))
        self.blocks = nn.ModuleList()
        for k, count in enumerate(spec.blocks):
            width = spec.width * 2**k
            for i in range(count):
                first = i == 0 and k > 0
                # A stage's first block attends as the stage before it does, whose tokens are its keys.
                stage = k - 1 if first else k
                window = WINDOW // 2**stage if stage < 2 else 0
                width_in = width // 2 if first else width
                self.blocks.append(HieraBlock(width_in, width, spec.heads * 2**k, window, next(rates)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.apply(initialise)

    def positions(self, grid: tuple[int, int, int]) -> Tensor:
        """Compute the positions (1, T, H, W, C) of a grid of T x H x W tokens."""
        frames, height, width = grid
        time = resize_positions(self.pos_embed_temporal[0], (FRAMES // TUBELET, 1, 1), (frames, 1, 1))
        space = resize_windowed(self.pos_embed_spatial[0], SIDE // PATCH, (height, width))
        return time.view(1, frames, 1, 1, -1) + space.view(1, 1, height, width, -1)


def resize_windowed(table: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Resize positions (side * side, C) of a model with attention windows to ``grid``: (H * W, C).

    Such positions learn one pattern that repeats from window to window (arXiv 2311.05613); stretched with the rest it
    would no longer meet the windows. Here the pattern (the mean of the inner windows, less what changes smoothly from
    window to window) is repeated, and what remains is interpolated, bicubic.
    """
    if grid == (side, side):
        return table
    cells, square = side // WINDOW, (1, side, side)
    means = table.view(cells, WINDOW, cells, WINDOW, -1).mean(dim=(1, 3))
    smooth = F.interpolate(
        means.permute(2, 0, 1)[None], size=square[1:], mode="bilinear", align_corners=False
    )
    local = table - smooth[0].flatten(1).t()
    pattern = local.view(cells, WINDOW, cells, WINDOW, -1)[1:-1, :, 1:-1].mean(dim=(0, 2))
    rest = table - pattern.repeat(cells, cells, 1).flatten(0, 1)
    rest = resize_positions(rest, square, (1, *grid)).squeeze(0)
    return rest + pattern.repeat(grid[0] // WINDOW, grid[1] // WINDOW, 1).flatten(0, 1)


class Hiera(LayeredBackbone):
    """Stage name -> [(N, C, T / 2, H / s, W / s)], s = 4, 8, 16, 32.

    Clips of T a multiple of 4, H and W multiples of 32; positions are interpolated unless the clip is 16 frames of
    224x224. Token t sees frames 2t - 1 to 2t + 1: index T / 4, half of the stage's, is centred on the key frame.

    res2..res4 are normed without parameters, res5 by Hiera's last norm. Hiera's keys are under ``hiera``.
    """

    STEM, BLOCKS = (
        ("hiera.patch_embed", "hiera.pos_embed_spatial", "hiera.pos_embed_temporal"),
        "hiera.blocks",
    )

    def __init__(self, trunk: HieraTrunk, blocks: list[int], frozen_blocks: int, checkpointing: bool) -> None:
        """The first ``frozen_blocks`` and the patch embedding are not trained; -1: nothing of it."""
        super().__init__()
        self.hiera, self.checkpointing = trunk, checkpointing
        # Last block of each stage.
        self._ends = {sum(blocks[: k + 1]) - 1: name for k, name in enumerate(STAGES)}
        self.freeze(frozen_blocks)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: a size that ``check_clip`` refuses.
        """
        check_clip(clips)
        x = self.hiera.patch_embed["proj"](clips).permute(0, 2, 3, 4, 1)
        x, features = x + self.hiera.positions(tuple(x.shape[1:4])), {}
        for index, block in enumerate(self.hiera.blocks):
            x = run_block(block, x, self.checkpointing)
            if name := self._ends.get(index):
                normed = self.hiera.norm(x) if name == STAGES[-1] else channel_norm(x)
                features[name] = [normed.permute(0, 4, 1, 2, 3)]
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every stage."""
        width = self.hiera.patch_embed["proj"].out_channels
        return {name: ShapeSpec(channels=width * 2**k, stride=PATCH * 2**k) for k, name in enumerate(STAGES)}


@BACKBONE_REGISTRY.register()
def build_hiera_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> Hiera:
    """Build Hiera from ``MODEL.VIDEO_BACKBONE``.

    Raises:
        UserError: an unknown variant, or more frozen blocks than there are.
    """
    node, spec = cfg.MODEL.VIDEO_BACKBONE, variant(cfg, VARIANTS)
    blocks = stage_blocks(cfg, spec.blocks)
    spec = HieraSpec(node.WIDTH or spec.width, spec.heads, tuple(blocks))
    return Hiera(HieraTrunk(spec, node.DROP_PATH), blocks, node.FROZEN_BLOCKS, node.CHECKPOINTING)
