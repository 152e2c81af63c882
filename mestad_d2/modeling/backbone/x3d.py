"""X3D (arXiv 2004.04730) as pytorchvideo builds it, without its head."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from fvcore.nn.squeeze_excitation import SqueezeExcitation
from pytorchvideo.models.x3d import create_x3d
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.library import refuse, stage_blocks, variant
from mestad_d2.modeling.backbone.norm import video_norm
from mestad_d2.modeling.backbone.pathway import STAGES, ease_temporal_convolutions
from mestad_d2.modeling.backbone.segment import WindowExcitation

# Depth factors; XS, S and M are one network on other clips.
VARIANTS = {"xs": 2.2, "s": 2.2, "m": 2.2, "l": 5.0}
WIDTH = 24


class X3D(Backbone):
    """Stage name -> [(N, C, T, H, W)] with the clip's T: no stride in time, so the key frame stays at T // 2.

    Clips of any size. The module's keys are pytorchvideo's under ``x3d``.
    """

    time_strides = (1,)

    def __init__(self, net: nn.Module, res5_stride: int) -> None:
        super().__init__()
        for parent in list(net.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, SqueezeExcitation):
                    setattr(parent, name, WindowExcitation(child.block))
        self.x3d = net
        self._strides = dict(zip(STAGES, (4, 8, 16, 16 * res5_stride), strict=True))

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W)."""
        stem, *stages = self.x3d.blocks
        x, features = stem(clips), {}
        for name, stage in zip(STAGES, stages, strict=True):
            x = stage(x)
            features[name] = [x]
        return features

    def forward_phases(self, frames: Tensor, phases: Sequence[int]) -> list[dict[str, list[Tensor]]]:
        """Compute features of frames (N, 3, T, H, W), any T; every frame is a step, so 0 is the only phase."""
        return [self(frames[:, :, phase:]) for phase in phases]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every stage."""
        last = [stage.res_blocks[-1].branch2.conv_c for stage in list(self.x3d.blocks)[1:]]
        return {
            name: ShapeSpec(channels=conv.out_channels, stride=self._strides[name])
            for name, conv in zip(STAGES, last, strict=True)
        }


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Dilate a stage whose stride was removed.

    The first block sees the grid it was trained on, so only those after it are dilated: every
    ``dilation``-th cell is then what the strided stage computes (but for squeeze-and-excitation's means).
    """
    for block in list(stage.res_blocks)[1:]:
        conv = block.branch2.conv_b
        conv.dilation = (1, dilation, dilation)
        conv.padding = (conv.padding[0], dilation, dilation)


@BACKBONE_REGISTRY.register()
def build_x3d_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> X3D:
    """Build X3D from ``MODEL.VIDEO_BACKBONE``; norm, stride and dilation of res5 by ``MODEL.VIDEO_RESNET``.

    Raises:
        UserError: an unknown variant, more blocks than the variant has, or a key that it does not have.
    """
    node = cfg.MODEL.VIDEO_RESNET
    refuse(cfg, "DROP_PATH", "FROZEN_BLOCKS", "CHECKPOINTING")
    net = create_x3d(
        depth_factor=variant(cfg, VARIANTS),
        # Half the stem's channels, which the width factor 2 doubles.
        stem_dim_in=(cfg.MODEL.VIDEO_BACKBONE.WIDTH or WIDTH) // 2,
        stage_spatial_stride=(2, 2, 2, node.RES5_STRIDE),
        norm=partial(video_norm, node.NORM),
    )
    net.blocks = net.blocks[:-1]
    stages = list(net.blocks)[1:]
    blocks = stage_blocks(cfg, [len(stage.res_blocks) for stage in stages])
    for name, stage, count in zip(STAGES, stages, blocks, strict=True):
        if count > len(stage.res_blocks):
            raise UserError(
                f"MODEL.VIDEO_BACKBONE.STAGE_BLOCKS: {name} has {len(stage.res_blocks)} blocks at most"
            )
        stage.res_blocks = stage.res_blocks[:count]
    _dilate(stages[-1], node.RES5_DILATION)
    shortcut = stages[0].res_blocks[0]
    if cfg.MODEL.VIDEO_BACKBONE.SHORTCUT_NORM and shortcut.branch1_norm is None:
        shortcut.branch1_norm = video_norm(node.NORM, shortcut.branch1_conv.out_channels)
    if node.TEMPORAL_PADDING != "zeros":
        ease_temporal_convolutions(net, node.TEMPORAL_PADDING)
    return X3D(net, node.RES5_STRIDE)
