"""Pseudo labels and the teacher; importing registers the strategies of Table 5. Knows no model."""

from mestad_d2.semisup import actor_labels, key_frame_labels, thresholds  # noqa: F401  (registers)
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.semisup.ema import ModelEMA
from mestad_d2.semisup.labelers import PSEUDO_LABELER_REGISTRY, build_pseudo_labeler

__all__ = ["PSEUDO_LABELER_REGISTRY", "ModelEMA", "TemporalLabelAssigner", "build_pseudo_labeler"]
