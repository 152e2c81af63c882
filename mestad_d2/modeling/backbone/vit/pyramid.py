"""A simple feature pyramid on the tokens of a plain transformer (after ViTDet, arXiv 2203.16527)."""

from __future__ import annotations

from collections.abc import Collection

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor, nn


class ChannelsFirstNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SimplePyramid(nn.ModuleDict):
    """From tokens of one stride (``patch`` pixels) to res2..res5.

    res4 (N, C, T, H, W) are the tokens themselves; res5 is res4 max-pooled to twice the stride. res3 (half the
    stride) and res2 (a quarter) are transposed convolutions of the key frame's tokens alone, (N, C / 2 or C / 4,
    1, H, W), and exist only where they are asked for: otherwise their weights would never have a gradient.
    No published file contains these weights.
    """

    def __init__(self, width: int, patch: int, levels: Collection[str]) -> None:
        upsample = {
            "res2": lambda: nn.Sequential(
                nn.ConvTranspose2d(width, width // 2, 2, 2),
                ChannelsFirstNorm(width // 2),
                nn.GELU(),
                nn.ConvTranspose2d(width // 2, width // 4, 2, 2),
            ),
            "res3": lambda: nn.ConvTranspose2d(width, width // 2, 2, 2),
        }
        super().__init__({name: build() for name, build in upsample.items() if name in levels})
        channels = {"res2": width // 4, "res3": width // 2, "res4": width, "res5": width}
        strides = {"res2": patch // 4, "res3": patch // 2, "res4": patch, "res5": 2 * patch}
        self._shape = {
            name: ShapeSpec(channels=channels[name], stride=strides[name]) for name in (*self, "res4", "res5")
        }

    def forward(self, res4: Tensor) -> dict[str, list[Tensor]]:
        """Compute stage name -> [(N, C, T, H, W)] from tokens (N, C, T, H, W); the key frame is index T // 2."""
        key_frame = res4[:, :, res4.shape[2] // 2]
        features = {name: [layer(key_frame).unsqueeze(2)] for name, layer in self.items()}
        return {**features, "res4": [res4], "res5": [nn.functional.max_pool3d(res4, (1, 2, 2))]}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and spatial stride of every level."""
        return self._shape


def used_levels(cfg: CfgNode) -> set[str]:
    """Return the levels that the FPN and the action head of a config use."""
    detects = cfg.MODEL.PROPOSAL_GENERATOR.NAME != "PrecomputedProposals"
    return {*(cfg.MODEL.FPN.IN_FEATURES if detects else ()), cfg.MODEL.ROI_ACTION_HEAD.IN_FEATURE}
