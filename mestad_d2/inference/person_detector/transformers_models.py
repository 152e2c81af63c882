"""Object detectors of transformers (RT-DETR, D-FINE, DETR ...) as person detectors; an optional extra."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.inference.person_detector.base import (
    PERSON_DETECTOR_REGISTRY,
    PersonDetector,
    person_index,
    selection_settings,
)


@PERSON_DETECTOR_REGISTRY.register()
class TransformersPersonDetector(PersonDetector):
    """Any model of ``AutoModelForObjectDetection``.

    Args:
        model: the detector.
        processor: its image processor.
        person: label of people.
    """

    def __init__(self, model: nn.Module, processor: Any, person: int, **selection: float) -> None:
        super().__init__(**selection)
        self.model, self.processor, self.person = model, processor, person

    @classmethod
    def from_config(cls, cfg: CfgNode) -> TransformersPersonDetector:
        """Build ``MODEL.PERSON_DETECTOR.MODEL``, a folder or a hub name; its weights come with it.

        Raises:
            UserError: transformers is not installed, or there is no such model.
        """
        node = cfg.MODEL.PERSON_DETECTOR
        if importlib.util.find_spec("transformers") is None:
            raise UserError(
                "person detectors of transformers need it installed: pip install 'mestad_d2[persons]'"
            )
        if node.WEIGHTS:
            raise UserError(
                "MODEL.PERSON_DETECTOR.WEIGHTS: detectors of transformers bring their weights; name their folder in "
                "MODEL.PERSON_DETECTOR.MODEL and leave WEIGHTS empty"
            )
        # A hub name is at most owner/name; the library would take a longer path for a bad one.
        if (os.path.isabs(node.MODEL) or node.MODEL.count("/") > 1) and not os.path.isdir(node.MODEL):
            raise UserError(
                f"person detector {node.MODEL}: no such folder; name a folder with config.json and weights"
            )
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        try:
            processor = AutoImageProcessor.from_pretrained(node.MODEL)
            model = AutoModelForObjectDetection.from_pretrained(node.MODEL)
        except (OSError, ValueError) as error:
            raise UserError(
                f"person detector {node.MODEL}: transformers could not load it "
                f"({str(error).strip().splitlines()[0][:160]}); name a folder with config.json and weights"
            ) from error
        return cls(
            model, processor, person_index(model.config.id2label, node.MODEL), **selection_settings(cfg)
        )

    def detect(self, pictures: Sequence[np.ndarray]) -> list[tuple[Tensor, Tensor]]:
        """Detect persons; see ``PersonDetector.detect``."""
        # One by one: pictures of different sizes would be padded, and some models ignore the mask.
        return [self._detect_one(picture) for picture in pictures]

    def _detect_one(self, picture: np.ndarray) -> tuple[Tensor, Tensor]:
        inputs = self.processor(images=picture, return_tensors="pt", input_data_format="channels_last")
        output = self.model(**inputs.to(self.model.device))
        size = torch.tensor([picture.shape[:2]])
        found = self.processor.post_process_object_detection(
            output, threshold=self.score_threshold, target_sizes=size
        )[0]
        keep = found["labels"] == self.person
        return found["boxes"][keep], found["scores"][keep]
