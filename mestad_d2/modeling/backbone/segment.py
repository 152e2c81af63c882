"""Run a backbone on a video segment longer than the clips it was trained on (ours).

Convolutions over time give the features of every key frame of a segment at once. Layers that average or attend
over a whole clip are limited to a clip's length, so that they cover the same duration as in training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class WindowExcitation(nn.Module):
    """Squeeze and excitation of (N, C, T, H, W) by the mean of a whole clip, or at each step of the steps around it.

    ``window``: on longer features, step t is scaled by the mean of steps t - window // 2 to
    t - window // 2 + window - 1 that there are; 0: every step by the mean of all.

    Args:
        block: from means (N, C, T, 1, 1) to factors of that shape (fvcore's ``SqueezeExcitation.block``).
    """

    window = 0

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Scale features (N, C, T, H, W)."""
        steps, window = x.shape[2], self.window
        if not window or steps <= window:
            return x * self.block(x.mean(dim=(2, 3, 4), keepdim=True))
        means = F.avg_pool3d(
            x.mean(dim=(3, 4), keepdim=True),
            (window, 1, 1),
            stride=1,
            padding=(window // 2, 0, 0),
            count_include_pad=False,
        )
        return x * self.block(means[:, :, :steps])


def takes_segments(backbone: nn.Module) -> bool:
    """Return whether a backbone computes more frames than a clip has: ``time_strides, forward_phases``."""
    return hasattr(backbone, "time_strides") and hasattr(backbone, "forward_phases")


class SegmentBackbone(nn.Module):
    """Features of a segment (1, 3, T, H, W), one dict of stages for each phase of the slowest pathway.

    Args:
        backbone: one that ``takes_segments``; it is shared where nothing in it needs a window, else copied.
        clip_frames: frames of its clips.
        phases: frames at which the slowest pathway starts, below its stride.
    """

    def __init__(self, backbone: nn.Module, clip_frames: int, phases: Sequence[int] = (0,)) -> None:
        super().__init__()
        steps = clip_frames // max(backbone.time_strides)
        if any(hasattr(module, "window") for module in backbone.modules()):
            backbone = copy.deepcopy(backbone)
            for module in backbone.modules():
                if hasattr(module, "window"):
                    module.window = steps
        self.inner, self.phases = backbone, tuple(phases)

    def forward(self, segment: Tensor) -> list[dict[str, list[Tensor]]]:
        """Compute, per phase, stage name -> pathways (1, C, T, H, W)."""
        return self.inner.forward_phases(segment, self.phases)
