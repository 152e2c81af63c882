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
from mestad_d2.modeling.backbone.pathway import STAGES, Pathway, PathwaySpec, slow_spec, stage_blocks


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
        """Slow features with the fast ones appended: (N, C_slow + ratio * C_fast, T, H, W)."""
        return torch.cat([slow, self.activation(self.norm(self.conv_fast_to_slow(fast)))], dim=1)


class SlowFast(Backbone):
    """Features of both pathways: stage name -> [slow, fast], before lateral fusion (release).

    The slow pathway takes every ``alpha``-th frame from the first on, so that its index T // 2 is the
    clip's key frame; a linspace over the clip misses it.
    """

    def __init__(self, slow: Pathway, fast: Pathway, laterals: dict[str, Lateral], alpha: int) -> None:
        super().__init__()
        self.slow, self.fast, self.alpha = slow, fast, alpha
        self.time_strides = (alpha, 1)
        self.laterals = nn.ModuleDict(laterals)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Features of clips (N, 3, T, H, W).

        Raises:
            UserError: T is no multiple of 2 * alpha, so that the key frame is not in the slow pathway.
        """
        frames = clips.shape[2]
        if (frames // 2) % self.alpha or frames % self.alpha:
            raise UserError(
                f"INPUT.CLIP.NUM_FRAMES {frames} does not put the key frame on the slow pathway; "
                f"use a multiple of {2 * self.alpha} (2 * MODEL.SLOWFAST.ALPHA)"
            )
        return self.forward_phases(clips, (0,))[0]

    def forward_phases(self, frames: Tensor, phases: Sequence[int]) -> list[dict[str, list[Tensor]]]:
        """Features of frames (N, 3, T, H, W), any T, for slow pathways that start at other frames.

        Args:
            frames: at the fast pathway's rate.
            phases: first frames of the slow pathway, each in 0..alpha-1; the fast pathway is computed once.

        Returns:
            features for each phase; step i of slow stands at step alpha * i of its fast features.
        """
        fast = {"stem": self.fast.stem(frames)}
        for before, name in zip(("stem", *STAGES), STAGES, strict=False):
            fast[name] = getattr(self.fast, name)(fast[before])
        return [self._with_slow(frames[:, :, p:], {n: x[:, :, p:] for n, x in fast.items()}) for p in phases]

    def _with_slow(self, frames: Tensor, fast: dict[str, Tensor]) -> dict[str, list[Tensor]]:
        slow = self.laterals["stem"](self.slow.stem(frames[:, :, :: self.alpha]), fast["stem"])
        features = {}
        for name in STAGES:
            slow = getattr(self.slow, name)(slow)
            features[name] = [slow, fast[name]]
            if name in self.laterals:
                slow = self.laterals[name](slow, fast[name])
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels of both pathways together, and the spatial stride, of every stage."""
        return {
            name: ShapeSpec(
                channels=self.slow.channels[name] + self.fast.channels[name], stride=self.slow.strides[name]
            )
            for name in STAGES
        }


@BACKBONE_REGISTRY.register()
def build_slowfast_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> SlowFast:
    """SlowFast by ``MODEL.VIDEO_RESNET``, ``MODEL.SLOWFAST`` and ``MODEL.NONLOCAL``."""
    node, pair = cfg.MODEL.VIDEO_RESNET, cfg.MODEL.SLOWFAST
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
    return SlowFast(slow, fast, laterals, pair.ALPHA)
