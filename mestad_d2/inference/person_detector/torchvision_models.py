"""torchvision's COCO detectors as person detectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torchvision
from detectron2.config import CfgNode
from torch import Tensor, nn

from mestad_d2.checkpoint import read_checkpoint
from mestad_d2.errors import UserError
from mestad_d2.inference.person_detector.base import (
    PERSON_DETECTOR_REGISTRY,
    PersonDetector,
    person_index,
    selection_settings,
)


@PERSON_DETECTOR_REGISTRY.register()
class TorchvisionPersonDetector(PersonDetector):
    """A detector of ``torchvision.models.detection`` by its name there.

    Args:
        model: takes a list of (3, H, W) floats in 0..1, gives dicts of ``boxes``, ``labels`` and ``scores``.
        person: label of people.
    """

    def __init__(self, model: nn.Module, person: int, **selection: float) -> None:
        super().__init__(**selection)
        self.model, self.person = model, person

    @classmethod
    def from_config(cls, cfg: CfgNode) -> TorchvisionPersonDetector:
        """Build ``MODEL.PERSON_DETECTOR.MODEL`` with weights of a file, of torchvision's own ("") or none ("random").

        Raises:
            UserError: no such detector, or its weights can't be read or downloaded.
        """
        node = cfg.MODEL.PERSON_DETECTOR
        known = torchvision.models.list_models(module=torchvision.models.detection)
        if node.MODEL not in known:
            raise UserError(
                f"MODEL.PERSON_DETECTOR.MODEL: torchvision has no detector {node.MODEL!r}; it has {', '.join(known)}"
            )
        default = torchvision.models.get_model_weights(node.MODEL).DEFAULT
        person = person_index(default.meta["categories"], node.MODEL)
        # Weights from the network only where the user named no file.
        wanted = default if node.WEIGHTS == "" else None
        try:
            model = torchvision.models.get_model(node.MODEL, weights=wanted, weights_backbone=None)
        except OSError as error:
            raise UserError(
                f"person detector {node.MODEL}: its weights could not be downloaded ({error}); download "
                f"{default.url} elsewhere and give the file by --persons-weights (MODEL.PERSON_DETECTOR.WEIGHTS)"
            ) from error
        if node.WEIGHTS not in ("", "random"):
            load_weights(model, node.WEIGHTS, node.MODEL)
        return cls(model, person, **selection_settings(cfg))

    def detect(self, pictures: Sequence[np.ndarray]) -> list[tuple[Tensor, Tensor]]:
        """Detect persons; see ``PersonDetector.detect``."""
        device = next(self.model.parameters()).device
        tensors = [torch.from_numpy(p.copy()).to(device).permute(2, 0, 1).float() / 255 for p in pictures]
        found = self.model(tensors)
        people = [result["labels"] == self.person for result in found]
        return [(r["boxes"][keep], r["scores"][keep]) for r, keep in zip(found, people, strict=True)]


def load_weights(model: nn.Module, path: str, name: str) -> None:
    """Load a state dict of exactly this model.

    Raises:
        UserError: the file can't be read or is of another model.
    """
    state = read_checkpoint(path)
    state = state.get("model", state) if isinstance(state, dict) else state
    tensors = {key: torch.as_tensor(value) for key, value in state.items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = " ".join(str(error).splitlines()[1:2]).strip() or str(error)
        raise UserError(
            f"{path}: no weights of {name} ({first[:160]}); name the file of this model"
        ) from error
