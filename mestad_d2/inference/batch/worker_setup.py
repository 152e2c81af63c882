"""How a worker on any machine becomes a detector that turns a video into JSON lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import torch
from detectron2.config import CfgNode

from mestad_d2.host_memory import keep_freed_memory
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.results.outputs import json_line, sure_people
from mestad_d2.inference.speed.modes import SpeedMode
from mestad_d2.load_config import import_extensions


@dataclass(frozen=True)
class DetectorRecipe:
    """Everything a worker needs, read and checked before it is sent.

    Attributes:
        cfg: full config; its weights must be there under the same path on every machine.
        names: of the actions.
        speed: see ``SpeedMode``.
        keyframes_per_second: how often actions are detected.
        score_threshold: least score of an action in the result.
        person_threshold: least score of a person in the result.
        threads: that a worker computes with.
        imports: see ``import_extensions``.
        mode: "clip" or "pass", see ``VideoPredictor``.
    """

    cfg: CfgNode
    names: ActionNames
    speed: SpeedMode
    keyframes_per_second: float
    score_threshold: float
    person_threshold: float
    threads: int
    imports: tuple[str, ...] = ()
    mode: str = "clip"

    def settings(self) -> dict:
        """Return the settings that results depend on, by name, for ``check_settings``."""
        settings = {
            "config": self.cfg.dump(),
            "precision": self.speed.precision,
            "names": {str(key): name for key, name in sorted(self.names.names.items())},
            "keyframes_per_second": self.keyframes_per_second,
            "score_threshold": self.score_threshold,
            "person_threshold": self.person_threshold,
        }
        # Left out where it is the default: results of earlier versions can be added to.
        return settings if self.mode == "clip" else settings | {"mode": self.mode}

    def __call__(self, number: int) -> Callable[[str], bytes]:
        """Return the function video -> JSON lines of worker ``number``; workers share the GPUs in turn."""
        import_extensions(self.imports)
        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)
        cfg = self.cfg.clone()
        cfg.defrost()
        if cfg.MODEL.DEVICE == "cuda" and torch.cuda.device_count() > 1:
            cfg.MODEL.DEVICE = f"cuda:{number % torch.cuda.device_count()}"
        cfg.freeze()
        keep_freed_memory(cfg.MODEL.DEVICE)
        predictor = VideoPredictor(
            cfg, speed=self.speed, keyframes_per_second=self.keyframes_per_second, mode=self.mode
        )

        def detect(video: str) -> bytes:
            lines = [
                json_line(video, sure_people(found, self.person_threshold), self.names, self.score_threshold)
                for found in predictor.predict(video)
            ]
            return "".join(lines).encode()

        return detect
