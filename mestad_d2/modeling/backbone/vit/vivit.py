"""ViViT (arXiv 2103.15691, joint attention over space and time) as transformers builds it, without its head.

The package transformers is optional: without it only this backbone is missing.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.library import TUBELET, check_clip, refuse, stage_blocks, variant
from mestad_d2.modeling.backbone.vit.pyramid import SimplePyramid, used_levels

# Layers, as four parts of three.
VARIANTS = {"b": (3, 3, 3, 3)}
WIDTH, HEADS = 768, 12
# Clip size of its table of positions: frames and side in pixels; and a tubelet's side.
FRAMES, SIDE, PATCH = 32, 224, 16


class ScaledEmbeddings(nn.Module):
    """transformers' embeddings (same keys), whose table of positions fits clips of other sizes.

    The library's own interpolation is for single images; here the table is a grid of 16 x 14 x 14 positions
    that is interpolated linearly in time and space where the clip's grid differs.
    """

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.cls_token = embeddings.cls_token
        self.position_embeddings = embeddings.position_embeddings
        self.patch_embeddings = embeddings.patch_embeddings
        self.dropout = embeddings.dropout

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool = False) -> Tensor:
        """Embed clips (N, T, 3, H, W) as tokens (N, 1 + T / 2 * H / 16 * W / 16, C), the class token first."""
        grid = self.patch_embeddings.projection(pixel_values.transpose(1, 2))
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.dropout(tokens + self._positions(tuple(grid.shape[2:])))

    def _positions(self, grid: tuple[int, int, int]) -> Tensor:
        made_for = (FRAMES // TUBELET, SIDE // PATCH, SIDE // PATCH)
        if grid == made_for:
            return self.position_embeddings
        first, table = self.position_embeddings.split([1, self.position_embeddings.shape[1] - 1], dim=1)
        table = table.transpose(1, 2).unflatten(2, made_for)
        table = nn.functional.interpolate(table, size=grid, mode="trilinear", align_corners=False)
        return torch.cat([first, table.flatten(2).transpose(1, 2)], dim=1)


class ViViT(Backbone):
    """Tokens of ViViT without the class token as res2..res5 (see ``SimplePyramid``).

    Clips of T a multiple of 4, H and W multiples of 32; positions are interpolated unless they are 32 frames
    of 224x224. Tubelet t holds frames 2t and 2t + 1: index T / 4, half of res4's, begins with the key frame.
    The library's keys are under ``vivit``, our own under ``pyramid``.
    """

    def __init__(self, vivit: nn.Module, levels: Collection[str]) -> None:
        super().__init__()
        vivit.embeddings = ScaledEmbeddings(vivit.embeddings)
        self.vivit = vivit
        self.pyramid = SimplePyramid(vivit.config.hidden_size, PATCH, levels)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: a size that ``check_clip`` refuses.
        """
        check_clip(clips)
        frames, height, width = clips.shape[2:]
        grid = (frames // TUBELET, height // PATCH, width // PATCH)
        tokens = self.vivit(pixel_values=clips.transpose(1, 2)).last_hidden_state[:, 1:]
        return self.pyramid(tokens.transpose(1, 2).unflatten(2, grid))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every level."""
        return self.pyramid.output_shape()


@BACKBONE_REGISTRY.register()
def build_vivit_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> ViViT:
    """Build ViViT from ``MODEL.VIDEO_BACKBONE``, with the levels that FPN and action head use.

    Raises:
        UserError: transformers is not installed, an unknown variant, or a key that it does not have.
    """
    try:
        from transformers import VivitConfig, VivitModel
    except ImportError as error:
        raise UserError(
            "MODEL.BACKBONE.NAME build_vivit_backbone: needs the package transformers; pip install transformers"
        ) from error
    refuse(cfg, "DROP_PATH", "FROZEN_BLOCKS", "CHECKPOINTING")
    layers = stage_blocks(cfg, variant(cfg, VARIANTS))
    width = cfg.MODEL.VIDEO_BACKBONE.WIDTH or WIDTH
    config = VivitConfig(
        image_size=SIDE,
        num_frames=FRAMES,
        tubelet_size=[TUBELET, PATCH, PATCH],
        hidden_size=width,
        num_hidden_layers=sum(layers),
        num_attention_heads=HEADS,
        intermediate_size=4 * width,
    )
    return ViViT(VivitModel(config, add_pooling_layer=False), used_levels(cfg))
