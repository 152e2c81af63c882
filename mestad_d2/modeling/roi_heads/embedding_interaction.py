"""WOO's action head: action embeddings of learned proposals interact with actors in space and time (Table 1).

Chen et al., Watch Only Once, ICCV 2021; no code of it was published. Shapes: N clips, R actors, D channels of the
embeddings, Q learned proposals a clip.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.sparse_rcnn.stage import DynamicConv
from mestad_d2.modeling.roi_heads.action_heads import LinearActionHead
from mestad_d2.modeling.roi_heads.action_transformer import join_over_time
from mestad_d2.modeling.roi_heads.video_roi_heads import VideoROIHeads, clip_index


class EmbeddingInteraction(nn.Module):
    """Attention among the embeddings of a clip's actors, then dynamic convolution of each actor's own features."""

    def __init__(self, dim: int, num_embeddings: int, positions: int, dynamic: int, num_heads: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.randn(num_embeddings, dim))
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.interact = DynamicConv(dim, dynamic, positions)

    def forward(self, features: Tensor, index: list[Tensor]) -> Tensor:
        """Combine actors' features (R, D, positions) with the embeddings of their proposals to (R, D).

        ``index``: per clip, which learned proposal each actor is.
        """
        own = [self.embeddings[places][None] for places in index]
        if not len(features):
            # One embedding keeps all parameters in the graph, as every process needs their gradients.
            own = [self.embeddings[:1][None]]
        mixed = [e + self.attention(e, e, e, need_weights=False)[0] for e in own if e.shape[1]]
        state = self.norm(torch.cat(mixed, dim=1)[0])[: len(features)]
        return self.norm_out(state + self.interact(state, features))


@ROI_HEADS_REGISTRY.register()
class WOOROIHeads(VideoROIHeads):
    """Classify actors by spatial and temporal features that interact with embeddings of their proposals.

    The spatial feature is ROIAlign's grid on the mean over time, the temporal one the mean of the box at each step. Every
    learned proposal of Sparse R-CNN has an embedding for either. Both results side by side are classified. Boxes
    that are no proposals (ground truth, external ones) have no embedding.
    """

    pooled_maps_only = False

    @configurable
    def __init__(
        self,
        *,
        channels: int,
        dim: int,
        num_embeddings: int,
        time_steps: int,
        dynamic: int,
        num_heads: int,
        stride: int,
        **arguments: object,
    ) -> None:
        """``channels`` and ``stride`` of the pooled feature; others as in ``MODEL.WOO`` and ``VideoROIHeads``."""
        super().__init__(**arguments)
        self.stride, self.time_steps = stride, time_steps
        self.reduce = nn.Conv3d(channels, dim, kernel_size=1)
        grid = self.pooler.level_poolers[0].output_size[0]
        self.spatial = EmbeddingInteraction(dim, num_embeddings, grid**2, dynamic, num_heads)
        self.temporal = EmbeddingInteraction(dim, num_embeddings, time_steps, dynamic, num_heads)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        own, head = cfg.MODEL.WOO, cfg.MODEL.ROI_ACTION_HEAD
        if head.APPEND_GT or head.TRAIN_BOXES != "proposals" or head.TEST_BOXES != "proposals":
            raise UserError(
                "MODEL.ROI_HEADS.NAME WOOROIHeads: only learned proposals have embeddings; set "
                'MODEL.ROI_ACTION_HEAD.APPEND_GT False, TRAIN_BOXES and TEST_BOXES "proposals"'
            )
        if cfg.MODEL.PROPOSAL_GENERATOR.NAME != "SparseRCNNProposals":
            raise UserError(
                f"MODEL.PROPOSAL_GENERATOR.NAME: WOOROIHeads needs learned proposals, "
                f"{cfg.MODEL.PROPOSAL_GENERATOR.NAME} has none; set SparseRCNNProposals"
            )
        if own.DIM % own.NUM_HEADS:
            raise UserError(f"MODEL.WOO.NUM_HEADS {own.NUM_HEADS}: must divide DIM, {own.DIM}; change one")
        shape = input_shape[head.IN_FEATURE]
        return super().from_config(cfg, input_shape) | {
            "predictor": LinearActionHead(cfg, 2 * own.DIM, with_context=False),
            "channels": shape.channels,
            "dim": own.DIM,
            "num_embeddings": cfg.MODEL.SPARSE_RCNN.NUM_PROPOSALS,
            "time_steps": own.TIME_STEPS,
            "dynamic": own.DYNAMIC_DIM,
            "num_heads": own.NUM_HEADS,
            "stride": shape.stride,
        }

    def logits(self, images: ImageList, features: dict[str, list[Tensor]], actors: list[Instances]) -> Tensor:
        """Compute the action logits (R, A) of actors, per clip instances with ``proposal_boxes, proposal_index``."""
        clips = self.reduce(join_over_time(features[self.in_feature]))
        boxes = [a.proposal_boxes for a in actors]
        grid = self.pooler([clips.mean(dim=2)], boxes).flatten(2)
        steps = F.adaptive_avg_pool3d(clips, (self.time_steps, None, None))
        regions = [b.tensor.to(steps) for b in boxes]
        # All steps of a clip lie in the same box: they are pooled as channels of one map.
        over_time = roi_align(steps.flatten(1, 2), regions, 1, 1.0 / self.stride, aligned=True)
        over_time = over_time.unflatten(1, steps.shape[1:3]).flatten(2)
        index = [a.proposal_index for a in actors]
        state = torch.cat([self.spatial(grid, index), self.temporal(over_time, index)], dim=1)
        return self.predictor(state[:, :, None, None], clips, clip_index(actors, clips.device))
