"""One pathway of a video ResNet, built of pytorchvideo's stem and residual stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from detectron2.config import CfgNode
from pytorchvideo.models.resnet import create_bottleneck_block, create_res_stage
from pytorchvideo.models.stem import create_res_basic_stem
from torch import Tensor, nn
from torch.nn import functional as F

from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.norm import video_norm

STAGES = ("res2", "res3", "res4", "res5")
# What convolutions over time see before the first step and after the last.
TEMPORAL_PADDINGS = ("zeros", "repeat")
STAGE_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


@dataclass
class PathwaySpec:
    """Settings of a pathway.

    Attributes:
        width: channels of the stem; stage k has ``4 * width * 2 ** k`` outputs.
        blocks: residual blocks of res2..res5.
        temporal_kernels: temporal kernel of the stem and of res2..res5; a list is repeated over the blocks.
        temporal_blocks: how many first blocks of a stage are temporal; -1: all.
        extra_channels: channels that lateral connections add to the input of res2..res5.
        res5_stride, res5_dilation: spatial ones of res5 (release: 1 and, in the slow pathway, 2).
        temporal_pool: frames that max pooling joins after res2; 1: none.
        temporal_padding: of convolutions over time; one of ``TEMPORAL_PADDINGS``.
    """

    width: int
    blocks: Sequence[int]
    temporal_kernels: Sequence[int | Sequence[int]]
    temporal_blocks: Sequence[int] = (-1, -1, -1, -1)
    extra_channels: Sequence[int] = (0, 0, 0, 0)
    res5_stride: int = 1
    res5_dilation: int = 2
    temporal_pool: int = 1
    temporal_padding: str = "zeros"
    norm: Callable[..., nn.Module] = nn.BatchNorm3d


def stage_blocks(cfg: CfgNode) -> Sequence[int]:
    """Return the blocks of res2..res5 by ``MODEL.VIDEO_RESNET``.

    Raises:
        UserError: an unknown depth, or not four stages.
    """
    node = cfg.MODEL.VIDEO_RESNET
    if node.STAGE_BLOCKS:
        if len(node.STAGE_BLOCKS) != 4:
            raise UserError("MODEL.VIDEO_RESNET.STAGE_BLOCKS: give the blocks of four stages, res2 to res5")
        return tuple(node.STAGE_BLOCKS)
    if node.DEPTH not in STAGE_BLOCKS:
        raise UserError(f"MODEL.VIDEO_RESNET.DEPTH: {node.DEPTH} is unknown; use 50 or 101, or STAGE_BLOCKS")
    return STAGE_BLOCKS[node.DEPTH]


class Pathway(nn.Module):
    """Stem and four stages; ``channels`` and ``strides`` (spatial) are keyed by stage name."""

    def __init__(self, spec: PathwaySpec) -> None:
        super().__init__()
        stem_kernel = spec.temporal_kernels[0]
        self.stem = create_res_basic_stem(
            in_channels=3,
            out_channels=spec.width,
            conv_kernel_size=(stem_kernel, 7, 7),
            conv_padding=(stem_kernel // 2, 3, 3),
            norm=spec.norm,
        )
        self.channels, self.strides = {}, {}
        dim_in, stride = spec.width, 4
        for k, name in enumerate(STAGES):
            spatial = (1, 2, 2, spec.res5_stride)[k]
            dilation = spec.res5_dilation if name == "res5" else 1
            stride *= spatial
            dim_out = 4 * spec.width * 2**k
            temporal = spec.blocks[k] if spec.temporal_blocks[k] < 0 else spec.temporal_blocks[k]
            given = spec.temporal_kernels[k + 1]
            cycle = [given] if isinstance(given, int) else list(given)
            kernels = [cycle[i % len(cycle)] if i < temporal else 1 for i in range(spec.blocks[k])]
            stage = create_res_stage(
                depth=spec.blocks[k],
                dim_in=dim_in + spec.extra_channels[k],
                dim_inner=dim_out // 4,
                dim_out=dim_out,
                bottleneck=create_bottleneck_block,
                conv_a_kernel_size=[(t, 1, 1) for t in kernels],
                conv_a_stride=(1, 1, 1),
                conv_a_padding=[(t // 2, 0, 0) for t in kernels],
                conv_b_stride=(1, spatial, spatial),
                conv_b_padding=(0, dilation, dilation),
                conv_b_dilation=(1, dilation, dilation),
                norm=spec.norm,
            )
            self.add_module(name, stage)
            self.channels[name], self.strides[name] = dim_out, stride
            dim_in = dim_out
        # Without parameters, so that no key depends on it.
        self.time_stride = spec.temporal_pool
        pool = (spec.temporal_pool, 1, 1)
        self.temporal_pool = nn.MaxPool3d(pool, pool) if spec.temporal_pool > 1 else nn.Identity()
        _plain_ints(self)
        ease_temporal_convolutions(self, spec.temporal_padding)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Compute stage name -> features (N, C, T, H, W) of clips (N, 3, T, H, W)."""
        x, features = self.stem(clips), {}
        for name in STAGES:
            x = features[name] = getattr(self, name)(x)
            if name == "res2":
                x = self.temporal_pool(x)
        return features


def _plain_ints(module: nn.Module) -> None:
    """Make strides, paddings and dilations plain ints; numpy's break the graph of torch.compile."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            for name in ("stride", "padding", "dilation", "kernel_size"):
                setattr(layer, name, tuple(int(v) for v in getattr(layer, name)))


def slow_spec(cfg: CfgNode, extra_channels: Sequence[int] = (0, 0, 0, 0)) -> PathwaySpec:
    """Return the spec of the slow pathway from ``MODEL.VIDEO_RESNET``."""
    node = cfg.MODEL.VIDEO_RESNET
    return PathwaySpec(
        width=node.WIDTH,
        blocks=stage_blocks(cfg),
        temporal_kernels=node.TEMPORAL_KERNELS,
        temporal_blocks=node.TEMPORAL_BLOCKS,
        extra_channels=extra_channels,
        res5_stride=node.RES5_STRIDE,
        res5_dilation=node.RES5_DILATION,
        temporal_pool=node.TEMPORAL_POOL,
        temporal_padding=node.TEMPORAL_PADDING,
        norm=partial(video_norm, node.NORM),
    )


class TemporalConv3d(nn.Conv3d):
    """A convolution over time, with other ends of the clip or another way to compute it; keys are ``nn.Conv3d``'s.

    A (k, 1, 1) convolution of stride 1 is trained on a CPU as a 2-D one over time and all positions: without AVX-512
    oneDNN computes the gradient of the 3-D one of 8 channels by a slow path, which takes fifteen to fifty times as long:
    half of the toy detector's training step. With ``repeat_ends`` the first and last step are repeated where
    zeros would pad time.
    """

    repeat_ends = False

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features (N, C_out, T', H', W') of features (N, C, T, H, W)."""
        padding = self.padding
        if self.repeat_ends:
            # Not F.pad: it would leave the channels-last layout.
            count, padding = padding[0], (0, *padding[1:])
            x = torch.cat([*[x[:, :, :1]] * count, x, *[x[:, :, -1:]] * count], dim=2)
        in_2d = x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled() and _time_only(self)
        if not in_2d:
            return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        n, channels, steps, height, width = x.shape
        # A view in both memory formats: the positions of a step are contiguous.
        flat = x.reshape(n, channels, steps, height * width)
        out = F.conv2d(flat, self.weight[..., 0], self.bias, 1, (padding[0], 0), groups=self.groups)
        return out.view(n, -1, out.shape[2], height, width)


def _time_only(conv: nn.Conv3d) -> bool:
    """Return whether a convolution keeps all steps and positions and mixes steps only."""
    steps = conv.kernel_size[0]
    plain = conv.stride == conv.dilation == (1, 1, 1) and conv.padding_mode == "zeros"
    return (
        plain and steps > 1 and steps % 2 == 1 and conv.kernel_size[1:] == (1, 1)
        and conv.padding == (steps // 2, 0, 0)
    )  # fmt: skip


def ease_temporal_convolutions(module: nn.Module, padding: str = "zeros") -> None:
    """Replace convolutions over time in ``module`` by ``TemporalConv3d`` in place, keeping weights and keys.

    Args:
        module: a backbone or a part of it.
        padding: ``MODEL.VIDEO_RESNET.TEMPORAL_PADDING``; with "zeros" only purely temporal ones are replaced.

    Raises:
        UserError: an unknown padding.
    """
    if padding not in TEMPORAL_PADDINGS:
        raise UserError(
            f"MODEL.VIDEO_RESNET.TEMPORAL_PADDING: {padding!r} is unknown; use {' or '.join(TEMPORAL_PADDINGS)}"
        )
    repeat = padding == "repeat"
    for parent in list(module.modules()):
        for name, conv in list(parent.named_children()):
            if type(conv) is not nn.Conv3d or not (_time_only(conv) or (repeat and conv.padding[0])):
                continue
            eased = nn.utils.skip_init(
                TemporalConv3d,
                conv.in_channels,
                conv.out_channels,
                conv.kernel_size,
                stride=conv.stride,
                padding=conv.padding,
                dilation=conv.dilation,
                groups=conv.groups,
                bias=conv.bias is not None,
            )
            eased.weight, eased.bias, eased.repeat_ends = conv.weight, conv.bias, repeat
            setattr(parent, name, eased)
