"""Build the detector of a config, after checking that its parts are registered."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.modeling.backbone import BACKBONE_REGISTRY
from detectron2.modeling.meta_arch import META_ARCH_REGISTRY
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY
from torch import nn

from mestad_d2.config_values import near
from mestad_d2.errors import UserError
from mestad_d2.modeling.roi_heads.action_heads import ROI_ACTION_PREDICTOR_REGISTRY


def build_detector(cfg: CfgNode) -> nn.Module:
    """Build the model of a config on ``MODEL.DEVICE``, with random weights.

    Raises:
        UserError: a name of a part is not registered, or a part's settings do not fit.
    """
    model = cfg.MODEL
    parts = [("MODEL.META_ARCHITECTURE", model.META_ARCHITECTURE, META_ARCH_REGISTRY)]
    if model.META_ARCHITECTURE == "MESTAD":
        parts += [
            ("MODEL.BACKBONE.NAME", model.BACKBONE.NAME, BACKBONE_REGISTRY),
            ("MODEL.PROPOSAL_GENERATOR.NAME", model.PROPOSAL_GENERATOR.NAME, PROPOSAL_GENERATOR_REGISTRY),
            ("MODEL.ROI_HEADS.NAME", model.ROI_HEADS.NAME, ROI_HEADS_REGISTRY),
            ("MODEL.ROI_ACTION_HEAD.NAME", model.ROI_ACTION_HEAD.NAME, ROI_ACTION_PREDICTOR_REGISTRY),
        ]
    for key, name, registry in parts:
        # The name that means no such part.
        if name not in registry and name != "PrecomputedProposals":
            known = sorted(known for known, part in registry if part.__module__.startswith("mestad_d2"))
            raise UserError(f"{key}: no {name!r} is registered{near(name, known)}")
    return build_model(cfg)
