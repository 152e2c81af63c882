"""Build the feature pyramid of the key frame from features over time (paper, section 3.3)."""

from __future__ import annotations

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling.backbone import FPN, Backbone
from torch import Tensor, nn

from mestad_d2.errors import UserError

STAGE_LEVEL = {"res2": 2, "res3": 3, "res4": 4, "res5": 5}
TOP_LEVEL = 5


class KeyframeFeatures(Backbone):
    """Pick the key frame of each pathway and concatenate the pathways' channels.

    Strides are reported doubling from stage to stage, because detectron2's FPN requires it and names
    its layers by them; ``KeyframeFPN`` keeps the real strides.
    """

    def __init__(self, shape: dict[str, ShapeSpec], in_features: list[str]) -> None:
        super().__init__()
        self._shape = {
            name: ShapeSpec(channels=shape[name].channels, stride=2 ** STAGE_LEVEL[name])
            for name in in_features
        }

    def forward(self, features: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """Extract key-frame features.

        Args:
            features: per stage, the pathways' tensors (N, C, T, H, W); T may differ between them.

        Returns:
            per stage (N, sum of C, H, W), each pathway at its index T // 2.
        """
        return {
            name: torch.cat([pathway[:, :, pathway.shape[2] // 2] for pathway in features[name]], dim=1)
            for name in self._shape
        }

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shape


class LastLevelConv(nn.Module):
    """One coarser level: a 3x3 convolution of stride 2 on the last level of the FPN (paper: P5 from P4)."""

    num_levels = 1

    def __init__(self, in_feature: str, channels: int) -> None:
        super().__init__()
        self.in_feature = in_feature
        self.conv = Conv2d(channels, channels, kernel_size=3, stride=2, padding=1)
        weight_init.c2_xavier_fill(self.conv)

    def forward(self, finest: Tensor) -> list[Tensor]:
        return [self.conv(finest)]


class KeyframeFPN(FPN):
    """detectron2's FPN on the key frame, without the requirement that strides double.

    ``res5`` of a video backbone often keeps the stride of ``res4``; then P5 has that stride too and is
    added to P4 at its own size. Maps whose sizes are no multiples of each other work as well.
    """

    def __init__(
        self,
        backbone_output_shape: dict[str, ShapeSpec],
        in_features: list[str],
        out_channels: int,
        norm: str = "",
        top_block: nn.Module | None = None,
        fuse_type: str = "sum",
    ) -> None:
        super().__init__(
            bottom_up=KeyframeFeatures(backbone_output_shape, in_features),
            in_features=in_features,
            out_channels=out_channels,
            norm=norm,
            top_block=top_block,
            fuse_type=fuse_type,
        )
        strides = [backbone_output_shape[name].stride for name in in_features]
        if top_block is not None:
            strides.append(strides[-1] * 2)
        self._out_feature_strides = dict(zip(self._out_features, strides, strict=True))
        self._size_divisibility = strides[-1]

    def forward(self, features: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """Compute the feature pyramid of the key frame.

        Args:
            features: per stage, the pathways' tensors (N, C, T, H, W).

        Returns:
            per level (N, out_channels, H, W), from fine to coarse.
        """
        stages = self.bottom_up(features)
        # lateral_convs and output_convs run from coarse to fine, as in the parent class.
        merged, results = None, []
        for name, lateral, output in zip(
            self.in_features[::-1], self.lateral_convs, self.output_convs, strict=True
        ):
            here = lateral(stages[name])
            if merged is not None:
                here = here + F.interpolate(merged, size=here.shape[-2:], mode="nearest")
                here = here / 2 if self._fuse_type == "avg" else here
            merged = here
            results.insert(0, output(merged))
        if self.top_block is not None:
            results.extend(self.top_block(results[-1]))
        return dict(zip(self._out_features, results, strict=True))


def build_keyframe_fpn(cfg: CfgNode, backbone_shape: dict[str, ShapeSpec]) -> KeyframeFPN:
    """Build FPN on ``cfg.MODEL.FPN.IN_FEATURES`` up to P5 (paper, Table 8: res3-4, res2-4 or res3-5).

    Raises:
        UserError: the stages are not neighbours in rising order, or end before res4.
    """
    names = list(cfg.MODEL.FPN.IN_FEATURES)
    levels = [STAGE_LEVEL.get(name, 0) for name in names]
    wanted = list(range(levels[0], levels[0] + len(levels))) if levels else []
    if levels != wanted or not levels or levels[0] < 2 or levels[-1] < TOP_LEVEL - 1:
        raise UserError(f"MODEL.FPN.IN_FEATURES {names}: give neighbouring stages that end with res4 or res5")
    if missing := [name for name in names if name not in backbone_shape]:
        raise UserError(
            f"MODEL.FPN.IN_FEATURES: the backbone gives no {missing[0]}, only {sorted(backbone_shape)}"
        )
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    top_block = LastLevelConv(f"p{levels[-1]}", channels) if levels[-1] < TOP_LEVEL else None
    return KeyframeFPN(
        backbone_shape, names, channels, cfg.MODEL.FPN.NORM, top_block, cfg.MODEL.FPN.FUSE_TYPE
    )
