"""A detector as one function of plain tensors, for ONNX and TorchScript (ours).

Shapes: T frames of H x W pixels, R people, A action columns.
"""

from __future__ import annotations

import copy

import torch
from pytorchvideo.layers.swish import Swish
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from mestad_d2.errors import UserError
from mestad_d2.inference.speed.folding import fold_batch_norm
from mestad_d2.modeling.backbone.segment import takes_segments
from mestad_d2.modeling.meta_arch import MESTAD
from mestad_d2.modeling.proposal_generator.fcos import FCOSProposals
from mestad_d2.modeling.proposal_generator.locations import distances_to_boxes, pyramid_locations
from mestad_d2.modeling.roi_heads.action_heads import LinearActionHead
from mestad_d2.modeling.roi_heads.video_roi_heads import VideoROIHeads, pool_time


class ExportableDetector(nn.Module):
    """Clip in, people out, one clip a call; every step is one that a tracer and ONNX can follow.

    The model is copied and its batch norms are folded; it must be on the CPU.

    Attributes:
        fixed_size: whether a traced file is right for clips of one size alone. Transformers compute positions and
            windows from the size, and tracing makes constants of them.

    Raises:
        UserError: the model has another person head than FCOS, or another actor head than VideoROIHeads.
    """

    def __init__(self, model: MESTAD) -> None:
        super().__init__()
        _check(model)
        model = copy.deepcopy(model).eval().requires_grad_(False)
        fold_batch_norm(model.backbone)
        _trace_swish(model.backbone)
        self.backbone, self.keyframe_path, self.fpn = model.backbone, model.keyframe_path, model.fpn
        self.fcos, self.actors = model.proposal_generator, model.roi_heads
        head = self.actors.predictor
        if isinstance(head, LinearActionHead) and head.with_context:
            self.actors.predictor = _ContextHead(head)
        self.fixed_size = not takes_segments(model.backbone)
        self.divisor = model.size_divisibility
        self.memory_format = model.memory_format
        self.register_buffer("mean", model.pixel_mean.clone())
        self.register_buffer("std", model.pixel_std.clone())

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detect on a clip (3, T, H, W), RGB, uint8 (or floats in 0..255).

        Returns:
            boxes (R, 4), x1, y1, x2, y2 in the clip's pixels, best first; person scores (R,); action
            scores (R, A), column = action id - 1.
        """
        height, width = clip.shape[-2], clip.shape[-1]
        # Sizes stay tensors: as Python ints they would be constants of the exported graph.
        limit = torch._shape_as_tensor(clip)[-2:].flip(0).repeat(2)
        clip = (clip.float() - self.mean) / self.std
        clip = F.pad(clip, (0, -width % self.divisor, 0, -height % self.divisor))
        clip = clip[None].contiguous(memory_format=self.memory_format)
        features = self.backbone(clip)
        boxes, scores = self._people(MESTAD.pyramid(self, clip, features), limit)
        frames = pool_time(features[self.actors.in_feature], self.actors.temporal_pool)
        # The pooler's own assignment of boxes to levels has one level to choose from.
        regions = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
        pooled = self.actors.pooler.level_poolers[0](frames, regions)
        first = torch.zeros_like(scores, dtype=torch.long)
        actions = self.actors.predictor(pooled, frames, first).float().sigmoid()
        if self.actors.score_with_person:
            actions = actions * scores[:, None]
        return boxes, scores, actions

    def _people(self, pyramid: dict[str, Tensor], limit: Tensor) -> tuple[Tensor, Tensor]:
        fcos = self.fcos
        maps = [pyramid[name] for name in fcos.in_features]
        points, levels = pyramid_locations([x.shape[-2:] for x in maps], fcos.strides, maps[0].device)
        logits, distances, centerness = (x[0] for x in fcos.head(maps))
        if fcos.distances_in_strides:
            distances = distances * torch.tensor(fcos.strides, device=points.device)[levels][:, None]
        scores = logits.sigmoid()
        rank = (scores * centerness.sigmoid()).sqrt()
        boxes = distances_to_boxes(points, distances)
        boxes = torch.minimum(boxes.clamp(min=0), limit.to(boxes))
        rule = fcos.test_selection
        sure = scores > rule.score_thresh
        best = []
        for level in range(len(maps)):
            index = (sure & (levels == level)).nonzero().squeeze(1)
            best.append(index[_descending(rank[index])[: rule.pre_nms_topk]])
        order = torch.cat(best)
        order = order[_descending(rank[order])]
        order = order[((boxes[order, 2:] - boxes[order, :2]) > 0).all(dim=1)]
        if rule.nms_thresh < 1.0:
            order = order[nms(boxes[order], rank[order], rule.nms_thresh)]
        order = order[: rule.max_boxes]
        return boxes[order], scores[order]


def _trace_swish(backbone: nn.Module) -> None:
    """Replace pytorchvideo's Swish, a Python function with its own gradient that tracers can't enter, by torch's."""
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Swish):
                setattr(parent, name, nn.SiLU())


class _ContextHead(nn.Module):
    """A linear head whose context is pooled by two matrices, which ONNX has for maps of any size."""

    def __init__(self, head: LinearActionHead) -> None:
        super().__init__()
        self.pool, self.classifier = head.pool, head.classifier

    def forward(self, actors: Tensor, frames: Tensor, clip_index: Tensor) -> Tensor:
        """Action logits (R, A), as the head gives them in eval mode."""
        rows, columns = (_bins(frames.shape[d], actors.shape[d], frames.device) for d in (-2, -1))
        grid = rows @ frames @ columns.t()
        return self.classifier(self.pool(torch.cat([actors, grid[clip_index]], dim=1)).flatten(1))


def _bins(length: int, bins: int, device: torch.device) -> Tensor:
    """(bins, length): row i averages over the cells that adaptive pooling gives to bin i."""
    cell, index = torch.arange(length, device=device), torch.arange(bins, device=device)[:, None]
    # Bins may share a cell, as those of adaptive pooling do.
    begin = torch.div(index * length, bins, rounding_mode="floor")
    end = torch.div((index + 1) * length + bins - 1, bins, rounding_mode="floor")
    inside = ((cell >= begin) & (cell < end)).float()
    return inside / inside.sum(dim=1, keepdim=True)


def _descending(values: Tensor) -> Tensor:
    return torch.sort(values, dim=0, descending=True).indices


def _check(model: MESTAD) -> None:
    parts = (
        ("MODEL.PROPOSAL_GENERATOR.NAME", model.proposal_generator, FCOSProposals),
        ("MODEL.ROI_HEADS.NAME", model.roi_heads, VideoROIHeads),
    )
    for key, part, wanted in parts:
        if not isinstance(part, wanted) or not getattr(part, "pooled_maps_only", True):
            raise UserError(f"{key}: a {type(part).__name__} can't be exported; use {wanted.__name__}")
