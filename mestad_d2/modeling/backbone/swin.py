"""Video-Swin (arXiv 2106.13230) as torchvision builds it, without its head."""

from __future__ import annotations

from dataclasses import dataclass

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d, SwinTransformer3d

from mestad_d2.modeling.backbone.library import channel_norm, check_clip, refuse, stage_blocks, variant
from mestad_d2.modeling.backbone.pathway import STAGES


@dataclass(frozen=True)
class SwinSpec:
    """Channels and heads of res2 (each stage doubles both), blocks of res2..res5."""

    width: int
    heads: int
    blocks: tuple[int, int, int, int]


VARIANTS = {
    "t": SwinSpec(96, 3, (2, 2, 6, 2)),
    "s": SwinSpec(96, 3, (2, 2, 18, 2)),
    "b": SwinSpec(128, 4, (2, 2, 18, 2)),
    # mmaction2's alone.
    "l": SwinSpec(192, 6, (2, 2, 18, 2)),
}


class WindowAttention(ShiftedWindowAttention3d):
    """torchvision's attention, with the right table entries where a grid is smaller than the window.

    There torchvision takes the first entries of the whole window's index, which belong to other pairs of
    positions; with 224x224 pixels and more no window shrinks in space and both are the same.
    """

    def get_relative_position_bias(self, window_size: list[int]) -> Tensor:
        """Return the bias (1, heads, V, V) of the V positions of a window of ``window_size`` (T, H, W)."""
        t, h, w = window_size
        index = self.relative_position_index.view(*self.window_size, *self.window_size)
        index = index[:t, :h, :w, :t, :h, :w].reshape(t * h * w, t * h * w)
        return self.relative_position_bias_table[index].permute(2, 0, 1).unsqueeze(0)


def _block(*args: object, attn_layer: object, **kwargs: object) -> nn.Module:
    # SwinTransformer3d names the attention itself; this puts ours in its place.
    return SwinTransformerBlock(*args, attn_layer=WindowAttention, **kwargs)


class VideoSwin(Backbone):
    """Stage name -> [(N, C, T / 2, H / s, W / s)], s = 4, 8, 16, 32.

    Clips of T a multiple of 4, H and W multiples of 32; positions are relative within windows, so that no
    table depends on the size (multiples of 224 are cheapest: there no window is padded). Tubelet t holds
    frames 2t and 2t + 1: index T / 4, half of the stage's, begins with the key frame.

    res2..res4 are normed without parameters, res5 by the library's own last norm. The module's keys are
    torchvision's under ``swin``.
    """

    def __init__(self, swin: SwinTransformer3d) -> None:
        super().__init__()
        self.swin = swin
        swin.head = nn.Identity()

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: a size that ``check_clip`` refuses.
        """
        check_clip(clips)
        x, features = self.swin.pos_drop(self.swin.patch_embed(clips)), {}
        # Stages alternate with patch merging.
        for index, layer in enumerate(self.swin.features):
            x = layer(x)
            if index % 2 == 0:
                name = STAGES[index // 2]
                normed = self.swin.norm(x) if name == STAGES[-1] else channel_norm(x)
                features[name] = [normed.permute(0, 4, 1, 2, 3)]
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every stage."""
        width = self.swin.num_features // 8
        return {name: ShapeSpec(channels=width * 2**k, stride=4 * 2**k) for k, name in enumerate(STAGES)}


@BACKBONE_REGISTRY.register()
def build_swin_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> VideoSwin:
    """Build Video-Swin from ``MODEL.VIDEO_BACKBONE``.

    Raises:
        UserError: an unknown variant, or a key that it does not have.
    """
    spec = variant(cfg, VARIANTS)
    refuse(cfg, "FROZEN_BLOCKS", "CHECKPOINTING")
    return VideoSwin(
        SwinTransformer3d(
            patch_size=[2, 4, 4],
            embed_dim=cfg.MODEL.VIDEO_BACKBONE.WIDTH or spec.width,
            depths=stage_blocks(cfg, spec.blocks),
            num_heads=[spec.heads * 2**k for k in range(4)],
            window_size=[8, 7, 7],
            stochastic_depth_prob=cfg.MODEL.VIDEO_BACKBONE.DROP_PATH,
            block=_block,
        )
    )
