"""Heads that classify the actions of the boxes they are given."""

from mestad_d2.modeling.roi_heads.acrn import ACRNActionHead
from mestad_d2.modeling.roi_heads.action_heads import ROI_ACTION_PREDICTOR_REGISTRY
from mestad_d2.modeling.roi_heads.relation_map import RelationMapActionHead
from mestad_d2.modeling.roi_heads.video_roi_heads import VideoROIHeads

__all__ = ["ACRNActionHead", "ROI_ACTION_PREDICTOR_REGISTRY", "RelationMapActionHead", "VideoROIHeads"]
