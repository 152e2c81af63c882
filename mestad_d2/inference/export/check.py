"""Compare an exported file with the eager model in outputs and speed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mestad_d2.timing import time_interleaved

TOLERANCE = 1e-4


@dataclass
class Parity:
    """Largest differences over clips; boxes as parts of the clip's longer side. ``people``: compared ones."""

    clips: int = 0
    people: int = 0
    other_count: int = 0
    boxes: float = 0.0
    scores: float = 0.0
    actions: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every clip has as many people in both, and all numbers are within 1e-4."""
        return not self.other_count and max(self.boxes, self.scores, self.actions) <= TOLERANCE

    def __str__(self) -> str:
        figures = ", ".join(f"{n} {getattr(self, n):.1e}" for n in ("boxes", "scores", "actions"))
        verdict = "ok" if self.holds else f"NOT within {TOLERANCE:g}"
        other = f", {self.other_count} clips with another number of people" if self.other_count else ""
        return f"parity on {self.clips} clips with {self.people} people: {figures}{other}: {verdict}"


@torch.no_grad()
def eager_outputs(model: nn.Module, clip: Tensor) -> list[np.ndarray]:
    """Return the model's own boxes (R, 4) in clip pixels, scores (R,) and actions (R, A)."""
    found = model.inference([{"clip": clip}], do_postprocess=False)[0]
    return [x.cpu().numpy() for x in (found.pred_boxes.tensor, found.scores, found.pred_actions)]


def compare(model: nn.Module, exported: Callable[[Tensor], list], clips: Iterable[Tensor]) -> Parity:
    """Compare the model in eager float32 with its exported file on clips (3, T, H, W)."""
    parity = Parity()
    for clip in clips:
        wanted, got = eager_outputs(model, clip), exported(clip)
        parity.clips += 1
        if len(wanted[0]) != len(got[0]):
            parity.other_count += 1
            continue
        parity.people += len(wanted[0])
        scale = float(max(clip.shape[-2:]))
        for name, unit, a, b in zip(
            ("boxes", "scores", "actions"), (scale, 1.0, 1.0), wanted, got, strict=True
        ):
            largest = float(np.abs(a - b).max(initial=0.0)) / unit
            setattr(parity, name, max(getattr(parity, name), largest))
    return parity


def speed(
    model: nn.Module, exported: Callable[[Tensor], list], clip: Tensor, runs: int = 9
) -> dict[str, float]:
    """Measure the median seconds per clip of the eager and the exported model, interleaved."""
    seconds = time_interleaved(
        {"eager": lambda: eager_outputs(model, clip), "exported": lambda: exported(clip)}, runs
    )
    return {name: statistics.median(values) for name, values in seconds.items()}
