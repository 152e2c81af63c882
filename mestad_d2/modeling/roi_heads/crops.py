"""Context-aware RCNN: the backbone runs on an enlarged crop of every actor (Table 1).

Wu et al., Context-Aware RCNN: A Baseline for Action Detection in Videos, ECCV 2020. Shapes: N clips of T frames, R actors.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from mestad_d2.modeling.roi_heads.video_roi_heads import VideoROIHeads, clip_index, pool_time


def enlarged(boxes: Boxes, scale: float) -> Tensor:
    """Return boxes (R, 4) ``scale`` times as wide and high around the same centres, in pixels; not cut to the frame."""
    centers, sides = boxes.get_centers(), boxes.tensor[:, 2:] - boxes.tensor[:, :2]
    return torch.cat([centers - sides * scale / 2, centers + sides * scale / 2], dim=1)


@ROI_HEADS_REGISTRY.register()
class CropROIHeads(VideoROIHeads):
    """Classify actors from the backbone's features of their crops, and of the whole clip as context.

    Each actor is cut out of all frames of its clip at its enlarged box and resized to a square, so that small people
    keep their details; what lies outside the frame is the mean pixel. The backbone, the model's own, runs once on the
    clips and once on the crops. ``MODEL.ROI_ACTION_HEAD.WITH_CONTEXT`` adds the clip's features to the crops'.
    """

    pooled_maps_only = False

    @configurable
    def __init__(self, *, crop_size: int, crop_scale: float, resolution: int, **arguments: object) -> None:
        """``crop_size`` in pixels; ``resolution`` of the maps that the predictor sees; others of ``VideoROIHeads``."""
        super().__init__(**arguments)
        self.crop_size, self.crop_scale, self.resolution = crop_size, crop_scale, resolution
        self._shared: list[nn.Module] = []

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        own = cfg.MODEL.ACTOR_CROPS
        return super().from_config(cfg, input_shape) | {
            "crop_size": own.SIZE,
            "crop_scale": own.SCALE,
            "resolution": cfg.MODEL.ROI_ACTION_HEAD.POOLER_RESOLUTION,
        }

    def share_backbone(self, backbone: nn.Module) -> None:
        """Use the detector's backbone for the crops too."""
        # In a list, so that its parameters are not registered twice.
        self._shared = [backbone]

    def crops(self, images: ImageList, actors: list[Instances]) -> Tensor:
        """Cut actors out of clips (N, 3, T, H, W): (R, 3, T, S, S)."""
        frames = images.tensor.flatten(1, 2).contiguous()
        regions = [enlarged(a.proposal_boxes, self.crop_scale).to(frames) for a in actors]
        cut = roi_align(frames, regions, self.crop_size, sampling_ratio=0, aligned=True)
        return cut.unflatten(1, images.tensor.shape[1:3])

    def logits(self, images: ImageList, features: dict[str, list[Tensor]], actors: list[Instances]) -> Tensor:
        """Compute the action logits (R, A) of actors, per clip instances with ``proposal_boxes``."""
        frames = pool_time(features[self.in_feature], self.temporal_pool)
        index = clip_index(actors, frames.device)
        if len(index):
            with torch.no_grad():
                crops = self.crops(images, actors)
            maps = pool_time(self._shared[0](crops)[self.in_feature], self.temporal_pool)
            maps = F.adaptive_avg_pool2d(maps, self.resolution)
        else:
            # Batch norm refuses an empty batch.
            maps = frames[:0, :, :1, :1].expand(-1, -1, self.resolution, self.resolution)
        return self.predictor(maps, frames, index)
