"""MViTv2 (arXiv 2112.01526) as torchvision builds it, without its head."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT

from mestad_d2.modeling.backbone.library import channel_norm, check_clip, stage_blocks, variant
from mestad_d2.modeling.backbone.pathway import STAGES

# Blocks of res2..res5.
VARIANTS = {"v2_s": (1, 2, 11, 2)}
WIDTH = 96
# Clip size of its tables of relative positions: frames and side in pixels.
FRAMES, SIDE = 16, 224


class MViTBackbone(Backbone):
    """Stage name -> [(N, C, T / 2, H / s, W / s)], s = 4, 8, 16, 32; the class token is left out.

    Clips of T a multiple of 4, H and W multiples of 32: tables of relative positions are interpolated to
    the grid (as torchvision does within a block), and are used as they are at 16 frames of 224x224. Token t
    sees frames 2t - 1 to 2t + 1, so that index T / 4, half of the stage's, is centred on the key frame.

    res2..res4 are normed without parameters, res5 by the library's own last norm. The module's keys are
    torchvision's under ``mvit``.
    """

    def __init__(self, mvit: MViT, blocks: list[int]) -> None:
        super().__init__()
        self.mvit = mvit
        mvit.head = nn.Identity()
        # Last block of each stage.
        self._ends = {sum(blocks[: k + 1]) - 1: name for k, name in enumerate(STAGES)}

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: a size that ``check_clip`` refuses.
        """
        check_clip(clips)
        grid = self.mvit.conv_proj(clips)
        thw = tuple(grid.shape[2:])
        tokens, features = self.mvit.pos_encoding(grid.flatten(2).transpose(1, 2)), {}
        for index, block in enumerate(self.mvit.blocks):
            tokens, thw = block(tokens, thw)
            if name := self._ends.get(index):
                normed = self.mvit.norm(tokens) if name == STAGES[-1] else channel_norm(tokens)
                features[name] = [normed[:, 1:].transpose(1, 2).unflatten(2, thw)]
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every stage."""
        width = self.mvit.conv_proj.out_channels
        return {name: ShapeSpec(channels=width * 2**k, stride=4 * 2**k) for k, name in enumerate(STAGES)}


def _block_settings(width: int, blocks: list[int]) -> list[MSBlockConfig]:
    """Every stage doubles channels and heads; its first block pools queries, but for that of res2."""
    settings = []
    for k, count in enumerate(blocks):
        channels, key_stride = width * 2**k, 8 // 2**k
        for i in range(count):
            first = i == 0 and k > 0
            settings.append(
                MSBlockConfig(
                    num_heads=2**k,
                    input_channels=channels // 2 if first else channels,
                    output_channels=channels,
                    kernel_q=[3, 3, 3],
                    kernel_kv=[3, 3, 3],
                    stride_q=[1, 2, 2] if first else [1, 1, 1],
                    stride_kv=[1, key_stride, key_stride],
                )
            )
    return settings


@BACKBONE_REGISTRY.register()
def build_mvit_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> MViTBackbone:
    """Build MViTv2 from ``MODEL.VIDEO_BACKBONE``.

    Raises:
        UserError: an unknown variant.
    """
    blocks = stage_blocks(cfg, variant(cfg, VARIANTS))
    mvit = MViT(
        spatial_size=(SIDE, SIDE),
        temporal_size=FRAMES,
        block_setting=_block_settings(cfg.MODEL.VIDEO_BACKBONE.WIDTH or WIDTH, blocks),
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        stochastic_depth_prob=0.2,
    )
    return MViTBackbone(mvit, blocks)
