"""The teacher: an exponential moving average of the student (paper, section 3.4)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn


class ModelEMA:
    """Keep a copy of a model whose tensors are moving averages of the model's.

    Parameters and float buffers (statistics of BN) are averaged, integer buffers copied; parameters that are not
    trained are shared with the student. The copy, ``model``, is in eval mode and has no gradients. ``updates``
    counts the averaging steps since ``copy_from``.
    """

    def __init__(self, student: nn.Module, decay: float = 0.999, ramp: bool = True) -> None:
        """See ``SEMISUP.EMA_DECAY`` and ``SEMISUP.EMA_RAMP``; ``student`` without a distributed wrapper."""
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay {decay} is not in [0, 1]")
        # Frozen parameters are shared with the student: they cost neither memory nor averaging.
        frozen = {id(p): p for p in student.parameters() if not p.requires_grad}
        self.model = deepcopy(student, frozen).eval()
        for parameter in self.model.parameters():
            if id(parameter) not in frozen:
                parameter.requires_grad_(False)
        self._shared = {name for name, p in self.model.named_parameters() if id(p) in frozen}
        self.decay, self.ramp = decay, ramp
        self.updates = 0

    def decay_at(self, update: int) -> float:
        """Return the decay of update ``update`` (from 0): with the ramp, min(decay, (1 + k) / (10 + k)) (release)."""
        return min(self.decay, (1 + update) / (10 + update)) if self.ramp else self.decay

    @torch.no_grad()
    def copy_from(self, student: nn.Module) -> None:
        """Copy the student's weights and restart the averaging."""
        self.model.load_state_dict(student.state_dict())
        self.updates = 0

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Update teacher <- decay * teacher + (1 - decay) * student."""
        weight = 1.0 - self.decay_at(self.updates)
        theirs = student.state_dict()
        for name, mine in self.model.state_dict().items():
            if name in self._shared:
                continue
            if mine.is_floating_point():
                mine.lerp_(theirs[name].to(mine), weight)
            else:
                mine.copy_(theirs[name])
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the tensors of the teacher and the number of updates."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``; all keys must fit."""
        self.model.load_state_dict(state["model"])
        self.updates = int(state["updates"])
