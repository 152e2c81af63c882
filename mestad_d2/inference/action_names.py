"""Names of a model's action columns."""

from __future__ import annotations

import logging
import os

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from mestad_d2.errors import UserError, counted
from mestad_d2.formats.ava_actions import AVA_ACTIONS
from mestad_d2.formats.label_map import read_label_map

logger = logging.getLogger(__name__)
# A complete map with less than this share of a model's actions is another model's.
FEW = 8


class ActionNames:
    """Name by action id; ids without a name are called ``action 7``.

    Args:
        names: id -> name. If it has any, only its ids are shown: AVA's map leaves out 20 of 80.
    """

    def __init__(self, names: dict[int, str] | None = None) -> None:
        self.names = dict(names or {})

    def __getitem__(self, action_id: int) -> str:
        return self.names.get(action_id, f"action {action_id}")

    def shown(self, action_id: int) -> bool:
        """Return whether the id is a class of the label map; always True without a map."""
        return not self.names or action_id in self.names


def action_names(cfg: CfgNode, label_map: str | os.PathLike[str] | None = None) -> ActionNames:
    """Read names from a label map file, else of the first test dataset, else AVA's 80 for AVA's models.

    Raises:
        UserError: the file can't be read, or is of another model.
    """
    if label_map is not None:
        names = read_label_map(label_map).names
        _check_names(names, cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES, label_map)
        return ActionNames(names)
    if not cfg.DATASETS.TEST:
        return ActionNames()
    label_map = MetadataCatalog.get(cfg.DATASETS.TEST[0]).get("label_map", None)
    if label_map and os.path.isfile(label_map):
        return ActionNames(read_label_map(label_map).names)
    # The dataset may be missing: AVA's names come with the package, other actions stay numbers.
    is_ava = cfg.DATASETS.TEST[0].startswith("ava_") and cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES == len(
        AVA_ACTIONS
    )
    return ActionNames(AVA_ACTIONS if is_ava else None)


def _check_names(names: dict[int, str], num_classes: int, path: str | os.PathLike[str]) -> None:
    """Say where a label map is not that of the model.

    Raises:
        UserError: it numbers few names from 1 on, as the complete map of another model does.
    """
    if set(names) == set(range(1, len(names) + 1)) and FEW * len(names) <= num_classes:
        raise UserError(
            f"{path}: {counted(len(names), 'name')}, where the model has {num_classes} actions; give the label map "
            "that it was trained with"
        )
    beyond = [number for number in names if number > num_classes]
    if beyond:
        logger.warning(
            "%s: has ids up to %d, the model %d actions; is it the label map of another model?",
            path, max(beyond), num_classes,
        )  # fmt: skip
    elif max(names, default=num_classes) < num_classes:
        logger.warning(
            "%s: names the actions up to %d of the model's %d; the others are not shown",
            path, max(names), num_classes,
        )  # fmt: skip
