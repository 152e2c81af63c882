"""Checkpoints on disk: whole or not at all, and readable without running code."""

from __future__ import annotations

import enum
import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mestad_d2.errors import UserError


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
    _replace(path, lambda file: torch.save(content, file))


def write_text_whole(text: str, path: str | Path) -> None:
    """Write a small text file aside, then rename."""
    _replace(path, lambda file: file.write(text.encode()))


def _replace(path: str | Path, write: Any) -> None:
    path = Path(path)
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    # torch's writer tells of a full disk by a RuntimeError.
    except (OSError, RuntimeError) as error:
        free = shutil.disk_usage(path.parent).free / 2**20
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: not written ({reason}; {free:.1f} MB free there), what was there before is untouched; "
            "make room, then go on with --resume"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
