"""Files that a killed process can't leave half-written, and that can't run code when they are read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from mestad_d2.errors import UserError


def save_atomically(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write beside ``path``, flush to disk, then rename: readers see the old file or the new one."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(f"{path}: checkpoint not written ({error}); the previous one is untouched") from error
    finally:
        part.unlink(missing_ok=True)


def write_text_atomically(text: str, path: str | os.PathLike[str]) -> None:
    """Replace a small text file in one step."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text)
    os.replace(part, path)


def load_torch_file(path: str | os.PathLike[str]) -> Any:
    """Read a torch file that holds tensors and plain containers only; nothing in it is executed.

    Raises:
        UserError: the file is missing, truncated, no torch file, or holds other objects.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint; check MODEL.WEIGHTS")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused: truncated, no torch file, or it holds objects other than tensors; get a good copy"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: truncated or no torch file; get a good copy") from error
