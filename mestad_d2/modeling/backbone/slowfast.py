"""SlowFast: a slow and a fast pathway, joined by lateral connections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.non_local import insert_non_local
from mestad_d2.modeling.backbone.norm import video_norm
from mestad_d2.modeling.backbone.pathway import (
    STAGES,
    Pathway,
    PathwaySpec,
    ease_temporal_convolutions,
    slow_spec,
    stage_blocks,
)

SLOW_SAMPLINGS = ("stride", "linspace")


class Lateral(nn.Module):
    """From fast to slow: a time-strided convolution, with or without norm and ReLU."""

    def __init__(
        self, channels: int, ratio: int, kernel: int, alpha: int, norm: partial | None, relu: bool
    ) -> None:
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(
            channels, channels * ratio, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False
        )
        self.norm = norm(channels * ratio) if norm else nn.Identity()
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """Append the fast features to the slow ones: (N, C_slow + ratio * C_fast, T, H, W)."""
        return torch.cat([slow, self.activation(self.norm(self.conv_fast_to_slow(fast)))], dim=1)


class SlowFast(Backbone):
    """Features of both pathways: stage name -> [slow, fast], before lateral fusion (release).

    With ``slow_sampling`` "stride" the slow pathway takes every ``alpha``-th frame from the first on, so that its
    index T // 2 is the clip's key frame. "linspace" spreads them from the first frame to the last, as PySlowFast
    and pytorchvideo do, and misses the key frame by up to ``alpha`` - 1 frames.
    """

    def __init__(
        self,
        slow: Pathway,
        fast: Pathway,
        laterals: dict[str, Lateral],
        alpha: int,
        slow_sampling: str = "stride",
    ) -> None:
        super().__init__()
        if slow_sampling not in SLOW_SAMPLINGS:
            raise UserError(
                f"MODEL.SLOWFAST.SLOW_SAMPLING: {slow_sampling!r} is unknown; use {' or '.join(SLOW_SAMPLINGS)}"
            )
        self.slow, self.fast, self.alpha, self.slow_sampling = slow, fast, alpha, slow_sampling
        # Frames spread over each clip do not fit a grid over a video, so one pass is impossible.
        if slow_sampling == "stride":
            self.time_strides = (alpha, 1)
        self.laterals = nn.ModuleDict(laterals)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W).

        Raises:
            UserError: T is no multiple of 2 * alpha, so that the key frame is not in the slow pathway.
        """
        frames = clips.shape[2]
        if (frames // 2) % self.alpha or frames % self.alpha:
            raise UserError(
                f"INPUT.CLIP.NUM_FRAMES {frames} does not put the key frame on the slow pathway; "
                f"use a multiple of {2 * self.alpha} (2 * MODEL.SLOWFAST.ALPHA)"
            )
        return self._with_slow(self.slow_frames(clips), self._fast(clips))

    def forward_phases(self, frames: Tensor, phases: Sequence[int]) -> list[dict[str, list[Tensor]]]:
        """Compute features of frames (N, 3, T, H, W), any T, for slow pathways that start at other frames.

        Args:
            frames: at the fast pathway's rate.
            phases: first frames of the slow pathway, each in 0..alpha-1; the fast pathway is computed once.

        Returns:
            features for each phase; step i of slow stands at step alpha * i of its fast features.
        """
        fast = self._fast(frames)
        return [
            self._with_slow(frames[:, :, p :: self.alpha], {n: x[:, :, p:] for n, x in fast.items()})
            for p in phases
        ]

    def _fast(self, frames: Tensor) -> dict[str, Tensor]:
        fast = {"stem": self.fast.stem(frames)}
        for before, name in zip(("stem", *STAGES), STAGES, strict=False):
            fast[name] = getattr(self.fast, name)(fast[before])
        return fast

    def _with_slow(self, slow_frames: Tensor, fast: dict[str, Tensor]) -> dict[str, list[Tensor]]:
        slow = self.laterals["stem"](self.slow.stem(slow_frames), fast["stem"])
        features = {}
        for name in STAGES:
            slow = getattr(self.slow, name)(slow)
            features[name] = [slow, fast[name]]
            if name in self.laterals:
                slow = self.laterals[name](slow, fast[name])
        return features

    def slow_frames(self, clips: Tensor) -> Tensor:
        """Return the slow pathway's frames (N, 3, T / alpha, H, W) of clips (N, 3, T, H, W)."""
        if self.slow_sampling == "stride":
            return clips[:, :, :: self.alpha]
        frames = clips.shape[2]
        index = torch.linspace(0, frames - 1, frames // self.alpha, device=clips.device).long()
        return clips.index_select(2, index)

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels of both pathways together, and the spatial stride, of every stage."""
        return {
            name: ShapeSpec(
                channels=self.slow.channels[name] + self.fast.channels[name], stride=self.slow.strides[name]
            )
            for name in STAGES
        }


@BACKBONE_REGISTRY.register()
def build_slowfast_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> SlowFast:
    """Build SlowFast from ``MODEL.VIDEO_RESNET``, ``MODEL.SLOWFAST`` and ``MODEL.NONLOCAL``."""
    node, pair = cfg.MODEL.VIDEO_RESNET, cfg.MODEL.SLOWFAST
    if node.TEMPORAL_POOL != 1:
        raise UserError("MODEL.VIDEO_RESNET.TEMPORAL_POOL: SlowFast has no pooling over time; set it to 1")
    width = max(node.WIDTH // pair.BETA_INV, 1)
    norm = partial(video_norm, node.NORM)
    # Fast channels that reach res2..res5 of the slow pathway: of the stem, res2, res3 and res4.
    sources = [width, *(4 * width * 2**k for k in range(3))]
    slow = Pathway(slow_spec(cfg, extra_channels=[pair.FUSION_RATIO * c for c in sources]))
    fast = Pathway(
        PathwaySpec(
            width=width,
            blocks=stage_blocks(cfg),
            temporal_kernels=pair.FAST_TEMPORAL_KERNELS,
            temporal_blocks=node.TEMPORAL_BLOCKS,
            res5_stride=node.RES5_STRIDE,
            res5_dilation=pair.FAST_RES5_DILATION,
            temporal_padding=node.TEMPORAL_PADDING,
            norm=norm,
        )
    )
    insert_non_local(slow, cfg)
    laterals = {
        name: Lateral(
            channels,
            pair.FUSION_RATIO,
            pair.FUSION_KERNEL,
            pair.ALPHA,
            norm if pair.FUSION_NORM else None,
            pair.FUSION_RELU,
        )
        for name, channels in zip(("stem", *STAGES[:3]), sources, strict=True)
    }
    for lateral in laterals.values():
        ease_temporal_convolutions(lateral, node.TEMPORAL_PADDING)
    return SlowFast(slow, fast, laterals, pair.ALPHA, pair.SLOW_SAMPLING)
