"""Read a weights file by its content, not its name, without running code in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from mestad_d2.checkpoint.torch_file import load_torch_file
from mestad_d2.checkpoint.write import is_damaged
from mestad_d2.errors import UserError
from mestad_d2.formats.safe_pickle import ForbiddenGlobal, load_arrays

ZIP = b"PK\x03\x04"
# torch's old format: a pickled magic number comes first.
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# safetensors: the header's length in eight bytes, never as long as this, then the header, which is JSON.
LONGEST_HEADER = 10**8
# Messages of torch's weights-only reader about other content, and the advice before them.
UNSUPPORTED = re.compile(
    r"(?:GLOBAL|Unsupported class) ([\w.]+)|WeightsUnpickler error:\s+(an array [^\n]*|numpy's [^\n]*)"
)
# Instructions of pickle protocols after 2; a file of the old format then begins with this number.
NEWER_PICKLE, MAGIC = re.compile(r"Unsupported operand \d+"), 0x1950A86A20F9469CFC6C
ADVICE = re.compile(r"Weights only load failed.*trusted source\.", re.DOTALL)


class UnreadableCheckpoint(UserError):
    """A weights file that is truncated, of no known kind, or asks to run code."""


class NotFiniteCheckpoint(UnreadableCheckpoint):
    """Weights with values that are NaN or infinite."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read the top-level dict of a torch or safetensors file or a pickle of arrays; tensors are on the CPU.

    Raises:
        UnreadableCheckpoint: truncated, of no known kind, or more than weights; no code of it was run. Or
            a safetensors file without the package of that name.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_TORCH))
    except OSError as error:
        raise UnreadableCheckpoint(f"{path}: can't be opened ({error.strerror})") from None
    if not start:
        raise UnreadableCheckpoint(f"{path}: is empty; fetch or save it again")
    is_torch = start.startswith(ZIP) or start == LEGACY_TORCH
    try:
        if is_torch:
            content = load_torch_file(path, zipped=start.startswith(ZIP))
        elif _is_safetensors(start):
            content = _load_safetensors(path)
        else:
            content = load_arrays(path)
    except UnreadableCheckpoint:
        raise
    except ForbiddenGlobal as error:
        raise UnreadableCheckpoint(_refusal(path, str(error))) from None
    except Exception as error:  # a malicious or truncated file may raise anything
        found = UNSUPPORTED.search(str(error))
        if found:
            raise UnreadableCheckpoint(_refusal(path, found[1] or found[2])) from None
        if NEWER_PICKLE.search(str(error)):
            raise UnreadableCheckpoint(_newer(path)) from None
        raise UnreadableCheckpoint(
            f"{path}: is truncated or no weights file ({_one_line(error)}); fetch or save it again"
        ) from None
    if isinstance(content, int) and content == MAGIC:
        raise UnreadableCheckpoint(_newer(path))
    if not isinstance(content, dict):
        raise UnreadableCheckpoint(f"{path}: holds a {type(content).__name__}, not a dict of weights")
    if is_damaged(content):
        raise UnreadableCheckpoint(f"{path}: is damaged (its digest differs); copy it again or take another")
    return content


def _is_safetensors(start: bytes) -> bool:
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UnreadableCheckpoint(
            f"{path}: is a safetensors file, which needs the package safetensors; pip install safetensors"
        ) from error
    return load_file(path, device="cpu")


def _refusal(path: Path, what: str) -> str:
    return (
        f"{path}: refused, because it holds {what} and a weights file may hold arrays and plain values only; "
        "nothing of it was run. If you trust its source, save its state dict alone"
    )


def _newer(path: Path) -> str:
    return f"{path}: is pickled in a way that torch's safe reader has not; save it without pickle_protocol"


def _one_line(error: Exception) -> str:
    text = " ".join(ADVICE.sub("", str(error)).split()).split(". ")[0]
    return f"{type(error).__name__}: {text}"[:120].rstrip(": ")
