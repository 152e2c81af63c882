"""Heads that classify the actions of the boxes they are given."""

from mestad_d2.modeling.roi_heads.acrn import ACRNActionHead
from mestad_d2.modeling.roi_heads.action_heads import ROI_ACTION_PREDICTOR_REGISTRY
from mestad_d2.modeling.roi_heads.action_transformer import ActionTransformerROIHeads
from mestad_d2.modeling.roi_heads.crops import CropROIHeads
from mestad_d2.modeling.roi_heads.embedding_interaction import WOOROIHeads
from mestad_d2.modeling.roi_heads.feature_bank import FeatureBankROIHeads
from mestad_d2.modeling.roi_heads.relation_map import RelationMapActionHead
from mestad_d2.modeling.roi_heads.video_roi_heads import VideoROIHeads

__all__ = [
    "ACRNActionHead",
    "ActionTransformerROIHeads",
    "CropROIHeads",
    "FeatureBankROIHeads",
    "ROI_ACTION_PREDICTOR_REGISTRY",
    "RelationMapActionHead",
    "VideoROIHeads",
    "WOOROIHeads",
]
