"""Non-local blocks on a pathway, as PySlowFast or mmaction2 build them."""

from __future__ import annotations

from functools import partial

import torch
from detectron2.config import CfgNode
from pytorchvideo.layers.nonlocal_net import create_nonlocal
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.norm import video_norm
from mestad_d2.modeling.backbone.pathway import STAGES, Pathway


class WithNonLocal(nn.Module):
    """A residual block followed by a non-local block.

    ``window``: on longer features a step attends to the steps of its own block of so many; 0: to all of them.
    """

    window = 0

    def __init__(self, block: nn.Module, non_local: nn.Module) -> None:
        super().__init__()
        self.block, self.non_local = block, non_local

    def forward(self, x: Tensor) -> Tensor:
        """Compute features (N, C, T, H, W) of the same shape."""
        x = self.block(x)
        steps, window = x.shape[2], self.window
        if not window or steps <= window:
            return self.non_local(x)
        rest = steps % window
        parts = [self.non_local(part) for part in x[:, :, : steps - rest].split(window, dim=2)]
        if rest:
            # The last steps attend to a whole window as well, which reaches back into the block before.
            parts.append(self.non_local(x[:, :, -window:])[:, :, -rest:])
        return torch.cat(parts, dim=2)


class PooledConv3d(nn.Conv3d):
    """A 1x1x1 convolution followed by max pooling; its keys are the convolution's."""

    def __init__(self, conv: nn.Conv3d, pool: tuple[int, ...]) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size)
        self.pool = nn.MaxPool3d(pool, pool)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and pool (N, C, T, H, W)."""
        return self.pool(super().forward(x))


def insert_non_local(pathway: Pathway, cfg: CfgNode) -> None:
    """Put non-local blocks after the residual blocks that ``MODEL.NONLOCAL.LOCATIONS`` names, in place.

    Raises:
        UserError: a block that the stage does not have.
    """
    node = cfg.MODEL.NONLOCAL
    norm = partial(video_norm, cfg.MODEL.VIDEO_RESNET.NORM)
    for name, locations in zip(STAGES, node.LOCATIONS, strict=True):
        blocks = getattr(pathway, name).res_blocks
        for index in locations:
            if not 0 <= index < len(blocks):
                raise UserError(
                    f"MODEL.NONLOCAL.LOCATIONS: {name} has {len(blocks)} blocks, no block {index}"
                )
            channels = pathway.channels[name]
            non_local = create_nonlocal(
                dim_in=channels,
                dim_inner=channels // 2,
                pool_size=tuple(node.POOL) if node.POOL_FIRST else None,
                instantiation=node.INSTANTIATION,
                norm=norm,
            )
            if not node.POOL_FIRST:
                for conv in ("conv_phi", "conv_g"):
                    setattr(non_local, conv, PooledConv3d(getattr(non_local, conv), tuple(node.POOL)))
            # Starts as the identity (PySlowFast), so that weights without these blocks keep their features.
            nn.init.zeros_(non_local.norm.weight)
            blocks[index] = WithNonLocal(blocks[index], non_local)
