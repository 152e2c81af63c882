"""Bring the features of a pass to those of clips by factors that are fitted on a few clips of the same film (ours).

Convolutions over time see zeros beyond both ends of a clip and the neighbouring film in a pass, so that a pass's
features are larger, most of all at a clip's first and last steps. Heads were trained on those of clips.
"""

from __future__ import annotations

import torch
from torch import Tensor

Features = dict[str, list[Tensor]]
# Pull towards "no change", as part of a stage's mean square: channels that are nearly always zero tell no factor.
PULL = 1e-4
EPSILON = 1e-12


class PassCalibration:
    """A factor for each channel and step, by least squares between pass and clip around the same key frames.

    Stages end in a ReLU: a factor keeps its zeros, which an offset would fill. Where pass and clip are equal, as without
    kernels over time, nothing changes.

    Args:
        clips: how many key frames are compared; 0: none, and features stay as they are.
    """

    def __init__(self, clips: int) -> None:
        self.wanted, self.seen = clips, 0
        # Per stage and pathway, (2, C, T): sums of x * x and of x * (clip - x).
        self._sums: dict[tuple[str, int], Tensor] = {}

    @property
    def missing(self) -> int:
        """Key frames that are still to be compared."""
        return max(self.wanted - self.seen, 0)

    def add(self, passed: Features, clip: Features) -> None:
        """Compare the same key frame's features (1, C, T, H, W), of the same stages, steps and sizes."""
        self.seen += 1
        for name in passed:
            for index, (x, y) in enumerate(zip(passed[name], clip[name], strict=True)):
                x = x.float()
                sums = torch.stack([(x * other).sum(dim=(0, 3, 4)) for other in (x, y.float() - x)])
                self._sums[name, index] = self._sums.get((name, index), 0) + sums.double()

    def apply(self, passed: Features) -> Features:
        """Return features (N, C, T, H, W) as those of clips, in float32."""
        if not self._sums:
            return passed
        return {
            name: [x * _factor(self._sums[name, index]) for index, x in enumerate(pathways)]
            for name, pathways in passed.items()
        }


def _factor(sums: Tensor) -> Tensor:
    """Factor (C, T, 1, 1) from ``PassCalibration._sums``."""
    square, change = sums
    return (1 + change / (square + PULL * square.mean() + EPSILON)).float()[..., None, None]
