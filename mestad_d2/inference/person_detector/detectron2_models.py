"""detectron2's own detectors as person detectors."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.modeling import build_model
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.inference.person_detector.base import (
    PERSON_DETECTOR_REGISTRY,
    PersonDetector,
    person_index,
    selection_settings,
)
from mestad_d2.inference.person_detector.torchvision_models import load_weights


@PERSON_DETECTOR_REGISTRY.register()
class Detectron2PersonDetector(PersonDetector):
    """A detector of detectron2's model zoo, or of a yaml file.

    Args:
        model: a detectron2 meta architecture that detects.
        person: contiguous class index of people.
        resize: how pictures are resized for it.
        bgr: whether it takes BGR pictures.
    """

    def __init__(
        self, model: nn.Module, person: int, resize: ResizeShortestEdge, bgr: bool, **selection: float
    ) -> None:
        super().__init__(**selection)
        self.model, self.person, self.resize, self.bgr = model, person, resize, bgr

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Detectron2PersonDetector:
        """Build ``MODEL.PERSON_DETECTOR.MODEL``, a zoo name such as COCO-Detection/... or a yaml file.

        Raises:
            UserError: no such config, or no weights.
        """
        node = cfg.MODEL.PERSON_DETECTOR
        own = _detector_config(node.MODEL)
        if node.WEIGHTS == "":
            raise UserError(
                f"person detector {node.MODEL}: name its weights file by --persons-weights "
                "(MODEL.PERSON_DETECTOR.WEIGHTS); detectron2's MODEL_ZOO.md has the address"
            )
        own.MODEL.DEVICE = cfg.MODEL.DEVICE
        own.MODEL.WEIGHTS = ""
        names = (
            MetadataCatalog.get(own.DATASETS.TEST[0]).get("thing_classes", []) if own.DATASETS.TEST else []
        )
        person = person_index(names, node.MODEL)
        # Our own threshold is applied later; the model should not drop more.
        own.MODEL.ROI_HEADS.SCORE_THRESH_TEST = min(node.SCORE_THRESH, own.MODEL.ROI_HEADS.SCORE_THRESH_TEST)
        model = build_model(own)
        if node.WEIGHTS != "random":
            load_weights(model, node.WEIGHTS, node.MODEL)
        resize = ResizeShortestEdge([own.INPUT.MIN_SIZE_TEST] * 2, own.INPUT.MAX_SIZE_TEST)
        return cls(model, person, resize, own.INPUT.FORMAT == "BGR", **selection_settings(cfg))

    def detect(self, pictures: Sequence[np.ndarray]) -> list[tuple[Tensor, Tensor]]:
        """Detect persons; see ``PersonDetector.detect``."""
        found = [result["instances"] for result in self.model([self._input(p) for p in pictures])]
        people = [instances[instances.pred_classes == self.person] for instances in found]
        return [(instances.pred_boxes.tensor, instances.scores) for instances in people]

    def _input(self, picture: np.ndarray) -> dict:
        height, width = picture.shape[:2]
        picture = picture[:, :, ::-1] if self.bgr else picture
        resized = self.resize.get_transform(picture).apply_image(np.ascontiguousarray(picture))
        image = torch.as_tensor(resized.astype(np.float32).transpose(2, 0, 1))
        return {"image": image, "height": height, "width": width}


def _detector_config(name: str) -> CfgNode:
    if os.path.isfile(name):
        cfg = get_cfg()
        try:
            cfg.merge_from_file(name, allow_unsafe=False)
        # Any error of merging another kind of yaml.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{name}: no config of a detectron2 detector ({reason})") from error
        return cfg
    try:
        return model_zoo.get_config(name)
    except RuntimeError as error:
        raise UserError(
            f"MODEL.PERSON_DETECTOR.MODEL: {name!r} is neither a file nor a config of detectron2's model zoo, "
            "such as COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"
        ) from error
