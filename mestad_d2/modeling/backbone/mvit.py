"""MViT (arXiv 2104.11227) and MViTv2 (arXiv 2112.01526) as torchvision builds them, without their heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT

from mestad_d2.modeling.backbone.library import channel_norm, check_clip, refuse, stage_blocks, variant
from mestad_d2.modeling.backbone.pathway import STAGES
from mestad_d2.modeling.backbone.vit.block import LayeredBackbone
from mestad_d2.modeling.backbone.vit.positions import resize_positions

# Side in pixels of the clips that tables of positions are made for.
WIDTH, SIDE = 96, 224


@dataclass(frozen=True)
class MViTSpec:
    """Blocks of res2..res5, frames that the tables of positions are made for, whether it is version 1, and its pools.

    Version 1 (arXiv 2104.11227) has absolute positions, and doubles the channels in a stage's last MLP in place of the
    next stage's first attention. Pools have kernels of 3, or with ``kernels_by_stride`` of stride + 1, and none where
    nothing strides.
    """

    blocks: tuple[int, int, int, int]
    frames: int
    first_version: bool = False
    kernels_by_stride: bool = False


VARIANTS = {
    "v1_b": MViTSpec((1, 2, 11, 2), 16, first_version=True),
    "v1_b_32": MViTSpec((1, 2, 11, 2), 32, first_version=True),
    # 24 blocks, as PySlowFast's MVIT_B_32x3_CONV has them.
    "v1_b24_32": MViTSpec((2, 3, 16, 3), 32, first_version=True, kernels_by_stride=True),
    "v2_s": MViTSpec((1, 2, 11, 2), 16),
    "v2_b": MViTSpec((2, 3, 16, 3), 32),
}


class MViTBackbone(LayeredBackbone):
    """Stage name -> [(N, C, T / 2, H / s, W / s)], s = 4, 8, 16, 32; the class token is left out.

    Clips of T a multiple of 4, H and W multiples of 32: tables of positions are interpolated to the grid (relative
    ones as torchvision does within a block), and are used as they are at 16 frames (``v2_b`` and ``v1_..._32``: 32) of
    224x224. Token t sees frames 2t - 1 to 2t + 1, so that index T / 4, half of the stage's, is centred on the key
    frame.

    res2..res4 are normed without parameters, res5 by the library's own last norm. The module's keys are
    torchvision's under ``mvit``.
    """

    STEM, BLOCKS = ("mvit.conv_proj", "mvit.pos_encoding"), "mvit.blocks"

    def __init__(self, mvit: MViT, blocks: list[int], frozen_blocks: int = 0) -> None:
        """The first ``frozen_blocks`` and all before them are not trained; -1: nothing of the library's network."""
        super().__init__()
        self.mvit = mvit
        mvit.head = nn.Identity()
        # Last block of each stage.
        self._ends = {sum(blocks[: k + 1]) - 1: name for k, name in enumerate(STAGES)}
        last = (mvit.blocks[index].mlp[-2] for index in self._ends)
        self._channels = [layer.out_features for layer in last]
        self.freeze(frozen_blocks)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: a size that ``check_clip`` refuses.
        """
        check_clip(clips)
        grid = self.mvit.conv_proj(clips)
        thw = tuple(grid.shape[2:])
        tokens, features = self._with_positions(grid), {}
        for index, block in enumerate(self.mvit.blocks):
            tokens, thw = block(tokens, thw)
            if name := self._ends.get(index):
                normed = self.mvit.norm(tokens) if name == STAGES[-1] else channel_norm(tokens)
                features[name] = [normed[:, 1:].transpose(1, 2).unflatten(2, thw)]
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every stage."""
        pairs = zip(STAGES, self._channels, strict=True)
        return {name: ShapeSpec(channels=n, stride=4 * 2**k) for k, (name, n) in enumerate(pairs)}

    def _with_positions(self, grid: Tensor) -> Tensor:
        """Make tokens (N, 1 + T * H * W, C) of patches (N, C, T, H, W): a class token, and positions of this size."""
        encoding, tokens = self.mvit.pos_encoding, grid.flatten(2).transpose(1, 2)
        if encoding.spatial_pos is None:
            return encoding(tokens)
        frames, height, width = grid.shape[2:]
        space = resize_positions(encoding.spatial_pos, (1, *encoding.spatial_size), (1, height, width))
        time = resize_positions(encoding.temporal_pos, (encoding.temporal_size, 1, 1), (frames, 1, 1))
        tokens = tokens + (time.unsqueeze(2) + space.unsqueeze(1)).flatten(1, 2)
        first = (encoding.class_token + encoding.class_pos).expand(len(tokens), 1, -1)
        return torch.cat([first, tokens], dim=1)


def _kernel(stride: list[int], by_stride: bool) -> list[int]:
    return [step + 1 if step > 1 else 1 for step in stride] if by_stride else [3, 3, 3]


def _block_settings(width: int, blocks: list[int], spec: MViTSpec) -> list[MSBlockConfig]:
    """Every stage doubles channels and heads; its first block pools queries, but for that of res2."""
    settings, first_version = [], spec.first_version
    for k, count in enumerate(blocks):
        channels, key_stride = width * 2**k, 8 // 2**k
        for i in range(count):
            first, last = i == 0 and k > 0, i == count - 1 and k < len(blocks) - 1
            stride_q = [1, 2, 2] if first else [] if first_version else [1, 1, 1]
            stride_kv = [1, key_stride, key_stride]
            settings.append(
                MSBlockConfig(
                    num_heads=2**k,
                    input_channels=channels // 2 if first and not first_version else channels,
                    output_channels=2 * channels if last and first_version else channels,
                    kernel_q=_kernel(stride_q, spec.kernels_by_stride) if stride_q else [],
                    kernel_kv=_kernel(stride_kv, spec.kernels_by_stride),
                    stride_q=stride_q,
                    stride_kv=stride_kv,
                )
            )
    return settings


@BACKBONE_REGISTRY.register()
def build_mvit_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> MViTBackbone:
    """Build MViT from ``MODEL.VIDEO_BACKBONE``.

    Raises:
        UserError: an unknown variant, or more frozen blocks than there are.
    """
    node, spec = cfg.MODEL.VIDEO_BACKBONE, variant(cfg, VARIANTS)
    refuse(cfg, "CHECKPOINTING")
    blocks, second = stage_blocks(cfg, spec.blocks), not spec.first_version
    mvit = MViT(
        spatial_size=(SIDE, SIDE),
        temporal_size=spec.frames,
        block_setting=_block_settings(node.WIDTH or WIDTH, blocks, spec),
        residual_pool=second,
        residual_with_cls_embed=False,
        rel_pos_embed=second,
        proj_after_attn=second,
        stochastic_depth_prob=node.DROP_PATH,
    )
    return MViTBackbone(mvit, blocks, node.FROZEN_BLOCKS)
