"""Actor-centric relation network: relates every actor to every position of the scene (paper, appendix B and Table 7)."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from mestad_d2.modeling.proposal_generator.tower import group_norm, tower
from mestad_d2.modeling.roi_heads.action_heads import ROI_ACTION_PREDICTOR_REGISTRY, LinearActionHead


@ROI_ACTION_PREDICTOR_REGISTRY.register()
class ACRNActionHead(nn.Module):
    """The linear head on an actor's map concatenated with its relation to the whole frame.

    As in the actor-centric relation network, the actor's pooled feature is concatenated to the feature of each
    position of the frame, a 1x1 convolution relates the two, and 3x3 convolutions combine the relations of
    neighbouring positions. The 1x1 convolution is split into an actor's and a scene's part; the scene's runs
    once a clip instead of once an actor, with the same sum. Group norm, unlike batch norm, keeps actors independent (ours).
    """

    @configurable
    def __init__(self, channels: int, *, dim: int, num_convs: int, linear: nn.Module) -> None:
        """``linear`` classifies maps of ``channels + dim`` channels."""
        super().__init__()
        self.pool = linear.pool
        self.scene = nn.Conv2d(channels, dim, kernel_size=1)
        self.actor = nn.Linear(channels, dim, bias=False)
        self.norm = group_norm(dim)
        self.gather = tower(dim, dim, num_convs, "GN")
        for layer in (self.scene, self.actor):
            nn.init.xavier_uniform_(layer.weight)
        for layer in self.gather:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(self.scene.bias)
        self.linear = linear

    @classmethod
    def from_config(cls, cfg: CfgNode, channels: int) -> dict:
        head = cfg.MODEL.ROI_ACTION_HEAD
        dim = head.ACRN_DIM or channels // 4
        linear = LinearActionHead(
            **LinearActionHead.from_config(cfg, channels + dim) | {"with_context": False}
        )
        return {"channels": channels, "dim": dim, "num_convs": head.ACRN_CONVS, "linear": linear}

    def relations(self, actors: Tensor, frames: Tensor, clip_index: Tensor) -> Tensor:
        """Compute relation maps (R, dim, H, W) of actors (R, C, S, S) in frames (N, C, H, W); ``clip_index`` (R,)."""
        vectors = self.actor(self.pool(actors).flatten(1))
        related = self.scene(frames)[clip_index] + vectors[:, :, None, None]
        return self.gather(self.norm(related).relu())

    def forward(self, actors: Tensor, frames: Tensor, clip_index: Tensor) -> Tensor:
        """Compute action logits (R, A) of actor maps (R, C, S, S) in frames (N, C, H, W); ``clip_index`` (R,)."""
        relation = self.relations(actors, frames, clip_index).mean(dim=(2, 3), keepdim=True)
        return self.linear(
            torch.cat([actors, relation.expand(-1, -1, *actors.shape[-2:])], dim=1), frames, clip_index
        )
