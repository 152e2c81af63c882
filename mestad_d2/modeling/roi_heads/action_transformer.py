"""Video Action Transformer's head: every actor attends to all places and moments of its clip (Table 1).

Girdhar et al., Video Action Transformer Network, CVPR 2019. Shapes: N clips, R actors, D channels of the transformer,
P = T * H * W positions of a clip's features.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from mestad_d2.errors import UserError
from mestad_d2.modeling.roi_heads.action_heads import LinearActionHead
from mestad_d2.modeling.roi_heads.video_roi_heads import VideoROIHeads, clip_index


def join_over_time(pathways: list[Tensor]) -> Tensor:
    """Average every pathway (N, C_i, T_i, H, W) to the fewest steps and concatenate: (N, sum C_i, T, H, W)."""
    steps = min(x.shape[2] for x in pathways)
    return torch.cat([F.adaptive_avg_pool3d(x, (steps, None, None)) for x in pathways], dim=1)


class ActionTransformerUnit(nn.Module):
    """Attention of actors to a clip's positions, then a feed-forward layer, each with residual and layer norm."""

    def __init__(self, dim: int, memory: int, num_heads: int, dropout: float) -> None:
        """``memory``: channels of the clip's features."""
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(memory, dim), nn.Linear(memory, dim)
        self.feedforward = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, actors: Tensor, clips: Tensor, counts: list[int]) -> Tensor:
        """Update actors (R, D), ``counts`` of them in each clip, from the clips' features (N, P, C)."""
        keys, values = self._heads(self.key(clips)), self._heads(self.value(clips))
        queries = self._heads(self.query(actors)[None])[0].split(counts, dim=1)
        seen = [
            F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
            for query, key, value in zip(queries, keys, values, strict=True)
        ]
        attended = torch.cat(seen, dim=1).transpose(0, 1).flatten(1)
        actors = self.norms[0](actors + self.dropout(attended))
        return self.norms[1](actors + self.dropout(self.feedforward(actors)))

    def _heads(self, x: Tensor) -> Tensor:
        """(N, L, D) to (N, heads, L, D / heads)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


@ROI_HEADS_REGISTRY.register()
class ActionTransformerROIHeads(VideoROIHeads):
    """Classify actors after transformer units whose queries are the actors and whose memory is the clip.

    Where a position lies (time, height, width, each in -1..1) is embedded and concatenated to the clip's features. An
    actor's query is made of its ROIAlign at the key frame, T // 2, with the grid kept ("high-resolution" query).
    """

    pooled_maps_only = False

    @configurable
    def __init__(
        self,
        *,
        channels: int,
        dim: int,
        num_units: int,
        num_heads: int,
        location_dim: int,
        dropout: float,
        **arguments: object,
    ) -> None:
        """``channels`` of the pooled feature; the others as in ``MODEL.ACTION_TRANSFORMER``, ``VideoROIHeads``."""
        super().__init__(**arguments)
        memory = channels + location_dim
        self.location = nn.Sequential(
            nn.Linear(3, location_dim), nn.ReLU(), nn.Linear(location_dim, location_dim)
        )
        cells = self.pooler.level_poolers[0].output_size[0] ** 2
        self.reduce = nn.Linear(memory, dim)
        self.query = nn.Sequential(nn.Linear(dim * cells, dim), nn.LayerNorm(dim))
        self.units = nn.ModuleList(
            [ActionTransformerUnit(dim, memory, num_heads, dropout) for _ in range(num_units)]
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        own = cfg.MODEL.ACTION_TRANSFORMER
        if own.DIM % own.NUM_HEADS:
            raise UserError(
                f"MODEL.ACTION_TRANSFORMER.NUM_HEADS {own.NUM_HEADS}: must divide DIM, {own.DIM}; change one"
            )
        arguments = super().from_config(cfg, input_shape)
        return arguments | {
            "predictor": LinearActionHead(cfg, own.DIM, with_context=False),
            "channels": input_shape[cfg.MODEL.ROI_ACTION_HEAD.IN_FEATURE].channels,
            "dim": own.DIM,
            "num_units": own.NUM_UNITS,
            "num_heads": own.NUM_HEADS,
            "location_dim": own.LOCATION_DIM,
            "dropout": own.DROPOUT,
        }

    def logits(self, images: ImageList, features: dict[str, list[Tensor]], actors: list[Instances]) -> Tensor:
        """Compute the action logits (R, A) of actors, per clip instances with ``proposal_boxes``."""
        clips = join_over_time(features[self.in_feature])
        clips = torch.cat([clips, self._locations(clips)], dim=1)
        key_frame = clips[:, :, clips.shape[2] // 2]
        pooled = self.pooler([key_frame], [a.proposal_boxes for a in actors])
        state = self.query(self.reduce(pooled.flatten(2).transpose(1, 2)).flatten(1))
        memory = clips.flatten(2).transpose(1, 2)
        counts = [len(a) for a in actors]
        for unit in self.units:
            state = unit(state, memory, counts)
        return self.predictor(state[:, :, None, None], key_frame, clip_index(actors, state.device))

    def _locations(self, clips: Tensor) -> Tensor:
        """(N, L, T, H, W), the embedding of every position."""
        sides = [torch.linspace(-1, 1, side, device=clips.device) for side in clips.shape[2:]]
        places = torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1)
        return self.location(places).permute(3, 0, 1, 2).expand(len(clips), -1, -1, -1, -1)
