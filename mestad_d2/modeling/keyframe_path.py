"""A small 2-D network on the key frame's pixels, whose maps the pyramid takes beside the backbone's (ours).

A person head that is trained onto a frozen backbone sees through it only what the actions needed; this path learns the
rest. The action head's features do not change.
"""

from __future__ import annotations

from collections.abc import Sequence

import fvcore.nn.weight_init as weight_init
from detectron2.config import CfgNode
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling.backbone.resnet import BasicBlock
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.tower import group_norm

NORMS = ("BN", "SyncBN", "GN")


class KeyframePath(nn.Module):
    """A stem of stride 2, and for each further stride residual blocks of two 3x3 convolutions.

    Args:
        strides: stage name -> stride of the map that it gets; powers of 2 from 4 on.
        width: channels at stride 2; doubled with the stride.
        blocks: residual blocks of a stride.
        norm: one of ``NORMS``.
    """

    def __init__(self, strides: dict[str, int], width: int, blocks: int = 1, norm: str = "BN") -> None:
        super().__init__()
        self.strides = dict(strides)
        make_norm = group_norm if norm == "GN" else norm
        self.stem = Conv2d(3, width, 3, stride=2, padding=1, bias=False, norm=get_norm(make_norm, width))
        weight_init.c2_msra_fill(self.stem)
        self.channels: dict[int, int] = {}
        stages, stride = [], 2
        while stride < max(strides.values()):
            stride *= 2
            channels = self.channels[stride] = width * stride // 2
            first = BasicBlock(channels // 2, channels, stride=2, norm=make_norm)
            rest = [BasicBlock(channels, channels, norm=make_norm) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *rest))
        self.stages = nn.ModuleList(stages)

    def forward(self, frame: Tensor) -> dict[str, Tensor]:
        """Compute the maps of key frames.

        Args:
            frame: (N, 3, H, W), normalised.

        Returns:
            per stage (N, C, H / stride, W / stride).
        """
        x = nn.functional.relu(self.stem(frame))
        maps = {}
        for stride, stage in zip(self.channels, self.stages, strict=True):
            maps[stride] = x = stage(x)
        return {name: maps[stride] for name, stride in self.strides.items()}

    def widened(self, shape: dict[str, ShapeSpec]) -> dict[str, ShapeSpec]:
        """Add this path's channels to the stages of a backbone's output shape."""
        more = {name: self.channels[stride] for name, stride in self.strides.items()}
        return {
            name: ShapeSpec(channels=spec.channels + more.get(name, 0), stride=spec.stride)
            for name, spec in shape.items()
        }


def build_keyframe_path(
    cfg: CfgNode, backbone_shape: dict[str, ShapeSpec], in_features: Sequence[str]
) -> KeyframePath | None:
    """Build the path of ``MODEL.FPN.KEYFRAME_PATH``, or None with ``WIDTH`` 0.

    Args:
        cfg: the config.
        backbone_shape: channels and strides of the backbone's stages.
        in_features: stages that the pyramid uses; those that the backbone has not are left out.

    Raises:
        UserError: a setting is out of its range, or a stage's stride is no power of 2.
    """
    node = cfg.MODEL.FPN.KEYFRAME_PATH
    if node.WIDTH == 0:
        return None
    # Some CPUs' convolution kernels fail with fewer channels.
    if node.WIDTH < 0 or node.WIDTH % 8:
        raise UserError(f"MODEL.FPN.KEYFRAME_PATH.WIDTH {node.WIDTH}: give a multiple of 8, or 0 for no path")
    if node.BLOCKS < 1:
        raise UserError(f"MODEL.FPN.KEYFRAME_PATH.BLOCKS {node.BLOCKS}: give 1 or more")
    if node.NORM not in NORMS:
        raise UserError(
            f"MODEL.FPN.KEYFRAME_PATH.NORM: {node.NORM!r} is unknown; use one of {', '.join(NORMS)}"
        )
    strides = {name: backbone_shape[name].stride for name in in_features if name in backbone_shape}
    for name, stride in strides.items():
        if stride < 4 or stride & (stride - 1):
            raise UserError(
                f"MODEL.FPN.KEYFRAME_PATH.WIDTH {node.WIDTH}: {name} has stride {stride}, and the path gives "
                "strides that are powers of 2 from 4 on; set 0"
            )
    return KeyframePath(strides, node.WIDTH, node.BLOCKS, node.NORM) if strides else None
