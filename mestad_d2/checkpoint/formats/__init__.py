"""Checkpoint formats of other projects, detected from their keys; all modules have the same interface.

Each has NAME, recognises(state), canonical(state) and expected(named, detector, config).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from torch import Tensor

from mestad_d2.checkpoint.formats import caffe2, mmaction, pyslowfast, pytorchvideo, videomae

FORMATS: tuple[ModuleType, ...] = (pytorchvideo, pyslowfast, caffe2, mmaction, videomae)


def recognise(state: Mapping[str, Tensor]) -> ModuleType | None:
    """Return the format that the state-dict keys belong to, or None."""
    return next((one for one in FORMATS if one.recognises(state)), None)
