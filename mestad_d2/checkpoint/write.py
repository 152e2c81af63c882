"""Checkpoints on disk: whole or not at all, and readable without running code."""

from __future__ import annotations

import enum
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mestad_d2.errors import UserError
from mestad_d2.formats.files import atomic_open, not_written, write_text

RESUME = "make room, then go on with --resume"

# The top-level key of a checkpoint's own digest.
DIGEST = "digest"
# Prefix of the digest, so that a key of that name in other projects' files is not taken for one.
DIGEST_KIND = "mestad_d2/1:"


def plain(value: Any, where: str = "checkpoint") -> Any:
    """Convert ``value`` to tensors, Python scalars, lists, tuples and dicts, which ``weights_only`` reads.

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


def digest(content: Mapping[str, Any]) -> str:
    """Compute a digest of all tensors and values of a checkpoint and their places, except a stored digest."""
    found = hashlib.blake2b(digest_size=16)

    def walk(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            # Types that numpy lacks are hashed as bytes too.
            found.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
        elif isinstance(value, Mapping):
            for key, item in value.items():
                found.update(f"{key!r}:".encode())
                walk(item)
        elif isinstance(value, list | tuple):
            found.update(f"{len(value)}[".encode())
            for item in value:
                walk(item)
        else:
            found.update(repr(value).encode())

    walk({key: value for key, value in content.items() if key != DIGEST})
    return DIGEST_KIND + found.hexdigest()


def is_damaged(content: Mapping[str, Any]) -> bool:
    """Return whether a file's content does not match its stored digest; False for files without one."""
    own = content.get(DIGEST)
    return isinstance(own, str) and own.startswith(DIGEST_KIND) and own != digest(content)


def save_whole(data: Mapping[str, Any], path: str | Path) -> None:
    """Write a checkpoint to a temporary file, then rename it, so that ``path`` is never incomplete.

    Raises:
        UserError: the disk is full or can't be written.
    """
    content = plain(data)
    content[DIGEST] = digest(content)
    path = Path(path)
    try:
        with atomic_open(path, "wb", fix=RESUME) as file:
            torch.save(content, file)
    # torch's writer reports a full disk as a RuntimeError.
    except RuntimeError as error:
        raise UserError(not_written(path, error, RESUME)) from error


def write_text_whole(text: str, path: str | Path) -> None:
    """Write a small text file of a run whole or not at all."""
    write_text(path, text, fix=RESUME)
