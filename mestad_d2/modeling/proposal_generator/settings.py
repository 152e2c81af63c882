"""Config settings that all proposal generators share."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from mestad_d2.config_files import use_new_names
from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.select import Selection


def selections(cfg: CfgNode) -> dict[str, Selection]:
    """Return ``train_selection`` and ``test_selection`` of ``MODEL.PROPOSALS``: which boxes become proposals."""
    cfg = cfg.clone()
    cfg.defrost()
    use_new_names(cfg)
    keys = cfg.MODEL.PROPOSALS
    train = keys.SCORE_THRESH_TRAIN, keys.NMS_THRESH_TRAIN, keys.POST_NMS_TOPK_TRAIN
    test = keys.SCORE_THRESH_TEST, keys.NMS_THRESH_TEST, keys.POST_NMS_TOPK_TEST
    return {
        "train_selection": Selection(*train, keys.PRE_NMS_TOPK),
        "test_selection": Selection(*test, keys.PRE_NMS_TOPK),
    }


def level_shapes(key: str, names: Sequence[str], input_shape: dict[str, ShapeSpec]) -> list[ShapeSpec]:
    """Return the shapes of the levels that a head uses.

    Raises:
        UserError: config key ``key`` names a level that the FPN does not give.
    """
    if missing := [name for name in names if name not in input_shape]:
        raise UserError(f"{key}: the FPN gives no {missing[0]}, only {sorted(input_shape)}")
    return [input_shape[name] for name in names]
