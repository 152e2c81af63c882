"""Checkpoints on disk: whole or not at all, and readable without running code."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mestad_d2.errors import UserError
from mestad_d2.formats.files import atomic_open, not_written, write_text

RESUME = "make room, then go on with --resume"


def plain(value: Any, where: str = "checkpoint") -> Any:
    """``value`` as tensors, Python scalars, lists, tuples and dicts, which ``weights_only`` reads.

    Arrays become tensors, numpy's scalars Python's; random states of numpy pass so too.

    Raises:
        TypeError: something else, named by its place, before anything is written.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, enum.Enum):
        return plain(value.value, where)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise TypeError(f"{where}: an array of {value.dtype}, which no safe reader takes")
        return torch.from_numpy(value.copy())
    if value is None or isinstance(value, torch.Tensor | torch.Size | torch.dtype | torch.device):
        return value
    for kind in (bool, int, float, str, bytes):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return _plain_mapping(value, where)
    if isinstance(value, list | tuple):
        items = [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(f"{where}: a {type(value).__name__}, which no safe reader takes; save plain values")


def _plain_mapping(value: Mapping, where: str) -> dict:
    pairs = {plain(k, where): plain(v, f"{where}.{k}") for k, v in value.items()}
    if not isinstance(value, OrderedDict):
        return pairs
    ordered = OrderedDict(pairs)
    # Versions of modules, which loading needs to convert old state.
    if isinstance(getattr(value, "_metadata", None), Mapping):
        ordered._metadata = plain(value._metadata, where + "._metadata")
    return ordered


def save_whole(data: Mapping[str, Any], path: str | Path) -> None:
    """Write a checkpoint aside, then rename, so that ``path`` is never a part of one.

    Raises:
        UserError: the disk is full or can't be written.
    """
    content = plain(data)
    path = Path(path)
    try:
        with atomic_open(path, "wb", fix=RESUME) as file:
            torch.save(content, file)
    # torch's writer tells of a full disk by a RuntimeError.
    except RuntimeError as error:
        raise UserError(not_written(path, error, RESUME)) from error


def write_text_whole(text: str, path: str | Path) -> None:
    """Write a small text file of a run whole or not at all."""
    write_text(path, text, fix=RESUME)
