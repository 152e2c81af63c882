"""Predictors on pooled actor features: from (R, C, S, S) maps to (R, A) action logits."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.utils.registry import Registry
from torch import Tensor, nn

ROI_ACTION_PREDICTOR_REGISTRY = Registry("ROI_ACTION_PREDICTOR")
ROI_ACTION_PREDICTOR_REGISTRY.__doc__ = """
Registry of action predictors. Each is built with ``(cfg, channels)`` and called with
``(actors (R, C, S, S), frames (N, C, H, W), clip_index (R,))``; it returns logits (R, A).
"""


def build_action_predictor(cfg: CfgNode, channels: int) -> nn.Module:
    """Build the predictor that ``MODEL.ROI_ACTION_HEAD.NAME`` names, for ``channels`` input channels."""
    return ROI_ACTION_PREDICTOR_REGISTRY.get(cfg.MODEL.ROI_ACTION_HEAD.NAME)(cfg, channels)


@ROI_ACTION_PREDICTOR_REGISTRY.register()
class LinearActionHead(nn.Module):
    """Spatial pooling, dropout and one linear layer, after hidden ones where asked for (paper, section 3.3).

    With context, the whole frame, average-pooled to the same grid, is concatenated to every actor's
    map (release).
    """

    @configurable
    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        spatial_pool: str = "max",
        dropout: float = 0.5,
        dropout_before_pool: bool = False,
        with_context: bool = False,
        hidden_layers: int = 0,
        init_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = {"max": nn.AdaptiveMaxPool2d, "avg": nn.AdaptiveAvgPool2d}[spatial_pool](1)
        self.with_context = with_context
        self.dropout, self.dropout_before_pool = nn.Dropout(dropout), dropout_before_pool
        width = channels * (2 if with_context else 1)
        layers = [part for _ in range(hidden_layers) for part in (nn.Linear(width, width), nn.ReLU())]
        self.hidden = nn.Sequential(*layers)
        for layer in layers[::2]:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.classifier = nn.Linear(width, num_classes)
        if init_std > 0:
            nn.init.normal_(self.classifier.weight, std=init_std)
        else:
            nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @classmethod
    def from_config(cls, cfg: CfgNode, channels: int) -> dict:
        head = cfg.MODEL.ROI_ACTION_HEAD
        return {
            "channels": channels,
            "num_classes": head.NUM_CLASSES,
            "spatial_pool": head.SPATIAL_POOL,
            "dropout": head.DROPOUT,
            "dropout_before_pool": head.DROPOUT_BEFORE_POOL,
            "with_context": head.WITH_CONTEXT,
            "hidden_layers": head.HIDDEN_LAYERS,
            "init_std": head.INIT_STD,
        }

    def forward(self, actors: Tensor, frames: Tensor, clip_index: Tensor) -> Tensor:
        """Compute action logits (R, A) of actor maps (R, C, S, S) in frames (N, C, H, W).

        ``clip_index`` (R,) is the index of each actor's frame.
        """
        if self.with_context:
            grid = nn.functional.adaptive_avg_pool2d(frames, actors.shape[-2:])
            actors = torch.cat([actors, grid[clip_index]], dim=1)
        if self.dropout_before_pool:
            return self.classifier(self.hidden(self.pool(self.dropout(actors)).flatten(1)))
        return self.classifier(self.hidden(self.dropout(self.pool(actors).flatten(1))))
