"""Read torch's weights files; sizes are checked against the file, and numpy's values become plain ones."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mestad_d2.formats.safe_pickle import PLAIN_DTYPE, ForbiddenGlobal

# A view may show more values than its storage holds (a row seen many times), up to so many bytes more.
MAX_VIEW = 2**20
NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


class _DType:
    """Stands for ``numpy.dtype``; types of numbers alone."""

    def __init__(self, name: object = None, *_: object) -> None:
        name = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(name, str) or not PLAIN_DTYPE.fullmatch(name):
            raise ForbiddenGlobal(f"an array of type {name!r:.40}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Placeholder of an array until its state is read; numpy never sees the file's own state."""

    def __init__(self, *_: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ForbiddenGlobal("an array without type and shape")
        _, shape, kind, fortran, raw = state
        self.value = _built(kind, shape, raw, "F" if fortran else "C")


class _ArrayType:
    """Placeholder for ``numpy.ndarray``, which is never called."""


class _Skipped:
    """Placeholder for data that trainers write beside the weights and no reader needs; discards any state."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# Parsed arguments and paths; what makes the values of dictionaries with a default.
SKIPPED = (
    "argparse.Namespace", 
    "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath",
    "builtins.list", "__builtin__.list", "builtins.int", "__builtin__.int",
)  # fmt: skip


class _Curve(_Skipped):
    """Placeholder for mmengine's training curve."""


def _method_of_a_curve(owner: object, name: object) -> None:
    """Placeholder for ``getattr`` on a training curve; refused on anything else."""
    if owner is not _Curve:
        # In the words of torch, which tells no more of an error than its text.
        raise ForbiddenGlobal("GLOBAL builtins.getattr")


def _built(kind: object, shape: object, raw: object, order: str = "C") -> np.ndarray:
    if not isinstance(kind, _DType) or not isinstance(shape, tuple) or not isinstance(raw, bytes | bytearray):
        raise ForbiddenGlobal("an array without type and shape")
    return np.frombuffer(bytes(raw), kind.dtype).reshape(shape, order=order)


def _scalar(kind: object, raw: object) -> Any:
    return _built(kind, (), raw).item()


def _stand_ins() -> list:
    # torch takes each callable under one name only, so that every name has a class or function of its own.
    def named(kind: type) -> type:
        return type(kind.__name__, (kind,), {})

    # How protocol 2 writes the bytes of an empty array.
    found: list = [(lambda: b"", "__builtin__.bytes"), (lambda: b"", "builtins.bytes")]
    for module in NUMPY_MODULES:
        found.append((named(_DType), f"{module}.dtype"))
        found.append((named(_ArrayType), f"{module}.ndarray"))
        found.append((named(_Array), f"{module}._reconstruct"))
        found.append((lambda kind, raw: _scalar(kind, raw), f"{module}.scalar"))
    found.append((lambda *_: {}, "collections.defaultdict"))
    found.append((_Curve, "mmengine.logging.history_buffer.HistoryBuffer"))
    for module in ("builtins", "__builtin__"):
        found.append((lambda owner, name: _method_of_a_curve(owner, name), f"{module}.getattr"))
    return found + [(named(_Skipped), name) for name in SKIPPED]


_STAND_INS = _stand_ins()


def load_torch_file(path: Path, zipped: bool) -> Any:
    """Load a file of ``torch.save``: tensors on the CPU, numpy scalars as numbers.

    Raises:
        ForbiddenGlobal: it holds more than weights and plain values.
        Exception: anything that a cut or hostile file makes torch raise.
    """
    if zipped:
        _check_zip(path)
    with torch.serialization.safe_globals(_STAND_INS):
        # By content: torch relies on the suffix ".safetensors".
        with path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    seen: dict[int, int] = {}
    content = _plain(content, seen)
    if sum(seen.values()) > os.path.getsize(path):
        raise ValueError("its tensors have more bytes than the file")
    return content


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > os.path.getsize(path):
        raise ValueError("its parts are larger than the file")


def _plain(value: Any, seen: dict[int, int]) -> Any:
    """``value`` with arrays in place of their stand-ins; notes the bytes of each storage in ``seen``."""
    if isinstance(value, torch.Tensor) and value.layout is torch.strided:
        storage = value.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        if value.numel() * value.element_size() > storage.nbytes() + MAX_VIEW:
            raise ValueError(f"a tensor of {value.numel()} values in {storage.nbytes()} bytes")
    elif isinstance(value, _Array):
        return value.value
    elif isinstance(value, _DType | _ArrayType):
        raise ForbiddenGlobal("numpy's types as data")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            value[key] = _plain(item, seen)
    elif isinstance(value, list | tuple):
        items = [_plain(item, seen) for item in value]
        return value if all(map(_is, items, value)) else type(value)(items)
    return value


def _is(one: Any, other: Any) -> bool:
    return one is other
