"""VideoMAE (arXiv 2203.12602) and VideoMAE v2 (arXiv 2303.16727): plain video transformers."""

from __future__ import annotations

from dataclasses import dataclass

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn

from mestad_d2.modeling.backbone.library import TUBELET, check_clip, stage_blocks, variant
from mestad_d2.modeling.backbone.vit.block import Block, LayeredBackbone, drop_rates, initialise, run_block
from mestad_d2.modeling.backbone.vit.positions import resize_positions, sinusoid_table
from mestad_d2.modeling.backbone.vit.pyramid import SimplePyramid, used_levels

# Clip size of the positions: frames and side in pixels.
FRAMES, SIDE = 16, 224


@dataclass(frozen=True)
class ViTSpec:
    """Channels, heads, layers as four parts, side of a patch, width of the MLP per channel."""

    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    patch: int = 16
    mlp_ratio: float = 4.0


VARIANTS = {
    "s": ViTSpec(384, 6, (3, 3, 3, 3)),
    "b": ViTSpec(768, 12, (3, 3, 3, 3)),
    "l": ViTSpec(1024, 16, (6, 6, 6, 6)),
    "h": ViTSpec(1280, 16, (8, 8, 8, 8)),
    # VideoMAE v2 alone.
    "g": ViTSpec(1408, 16, (10, 10, 10, 10), patch=14, mlp_ratio=48 / 11),
}


class VisionTransformer(nn.Module):
    """Patch embedding, blocks and a last norm, with VideoMAE's names of tensors."""

    def __init__(self, spec: ViTSpec, depth: int, drop_path: float) -> None:
        super().__init__()
        patch = (TUBELET, spec.patch, spec.patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, spec.width, patch, patch)})
        self.made_for = (FRAMES // TUBELET, SIDE // spec.patch, SIDE // spec.patch)
        count = self.made_for[0] * self.made_for[1] * self.made_for[2]
        self.register_buffer("pos_embed", sinusoid_table(count, spec.width), persistent=False)
        hidden = int(spec.width * spec.mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(spec.width, spec.heads, hidden, rate) for rate in drop_rates(drop_path, depth)
        )
        self.norm = nn.LayerNorm(spec.width, eps=1e-6)
        self.apply(initialise)


class VideoMAE(LayeredBackbone):
    """Tokens of VideoMAE as res2..res5 (see ``SimplePyramid``), one frame of features for every two of the clip.

    Clips of T a multiple of 4, H and W multiples of twice the patch; positions are interpolated unless the clip is
    16 frames of 224x224. Tubelet t holds frames 2t and 2t + 1: index T / 4, half of res4's, begins with the key
    frame. VideoMAE's keys are under ``vit``, our own under ``pyramid``.
    """

    STEM, BLOCKS = ("vit.patch_embed",), "vit.blocks"

    def __init__(
        self,
        vit: VisionTransformer,
        pyramid: SimplePyramid,
        frozen_blocks: int = 0,
        checkpointing: bool = False,
    ) -> None:
        """The first ``frozen_blocks`` and the patch embedding are not trained; -1: nothing of the transformer."""
        super().__init__()
        self.vit, self.pyramid, self.checkpointing = vit, pyramid, checkpointing
        self.patch = vit.patch_embed["proj"].kernel_size[1]
        self.freeze(frozen_blocks)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: a size that ``check_clip`` refuses.
        """
        check_clip(clips, 2 * self.patch)
        patches = self.vit.patch_embed["proj"](clips)
        grid = tuple(patches.shape[2:])
        positions = resize_positions(self.vit.pos_embed, self.vit.made_for, grid)
        tokens = patches.flatten(2).transpose(1, 2) + positions
        for block in self.vit.blocks:
            tokens = run_block(block, tokens, self.checkpointing)
        return self.pyramid(self.vit.norm(tokens).transpose(1, 2).unflatten(2, grid))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every level."""
        return self.pyramid.output_shape()


@BACKBONE_REGISTRY.register()
def build_videomae_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> VideoMAE:
    """Build VideoMAE from ``MODEL.VIDEO_BACKBONE``, with the levels that FPN and action head use.

    Raises:
        UserError: an unknown variant, or more frozen blocks than there are.
    """
    node, spec = cfg.MODEL.VIDEO_BACKBONE, variant(cfg, VARIANTS)
    if node.WIDTH:
        spec = ViTSpec(node.WIDTH, spec.heads, spec.blocks, spec.patch, spec.mlp_ratio)
    vit = VisionTransformer(spec, sum(stage_blocks(cfg, spec.blocks)), node.DROP_PATH)
    pyramid = SimplePyramid(spec.width, spec.patch, used_levels(cfg))
    return VideoMAE(vit, pyramid, node.FROZEN_BLOCKS, node.CHECKPOINTING)
