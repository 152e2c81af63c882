"""Find the state dict in a file, and match its key prefixes to a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Keys under which trainers keep a state dict, in the order in which they are taken: ours; pytorchvideo and
# PySlowFast; mmaction2; Caffe2; others, averaged weights last; V-JEPA 2's.
HOLDERS = (
    "model", "model_state", "state_dict", "blobs", "model_state_dict", "net", "network", "params", "module",
    "weights", "params_ema", "ema", "ema_state_dict", "model_ema", "state_dict_ema", "teacher", "student",
    "encoder", "target_encoder",
)  # fmt: skip
# Prefixes that wrappers add to every key, and torch.compile to those of the compiled part.
AROUND, COMPILED = ("module.", "model.", "net.", "network."), "_orig_mod."
WRAPPERS = ("module.", "model.", "backbone.")


def find_state(content: Mapping[str, Any]) -> tuple[dict[str, Tensor], str, list[str]]:
    """Find the state dict in the content of a file.

    Returns:
        its tensors, without what wrappers put before their names; the keys that lead to it, joined by dots (empty
        where the file is a state dict itself); keys of other state dicts that were left.
    """
    place, left = [], []
    for _ in range(3):
        held = [key for key in HOLDERS if isinstance(content.get(key), Mapping) and _holds(content[key])]
        if not held:
            break
        place.append(held[0])
        left += [".".join([*place[:-1], key]) for key in held[1:]]
        content = content[held[0]]
    return _bare(_tensors(content)), ".".join(place), left


def _holds(value: Mapping[str, Any]) -> bool:
    """Whether tensors are in it, at most two levels down: an optimiser's state lies deeper."""
    items = list(value.values())
    return any(isinstance(item, Tensor | np.ndarray) for item in items) or any(
        isinstance(value.get(key), Mapping) and _holds(value[key]) for key in HOLDERS
    )


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a state dict, arrays converted to them."""
    found = {}
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), copy=True))
        if isinstance(key, str) and isinstance(value, Tensor):
            found[key] = value
    return found


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The keys without the prefixes of distributed training, compilation, averaging and trainers."""
    state = {key.replace(COMPILED, ""): value for key, value in state.items() if key != "n_averaged"}
    while prefix := next((p for p in AROUND if state and all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def find_prefixes(file_keys: Iterable[str], model_keys: Iterable[str]) -> tuple[str, str] | None:
    """Find the prefix to strip from the file's keys and the one to add so that most keys match, or None.

    None, too, when less than half of the file's keys meet the model's: that is another network.
    """
    file_keys, model_keys = list(file_keys), list(model_keys)
    best, best_count = None, 0
    for off in ("", *WRAPPERS):
        bare = {key.removeprefix(off) for key in file_keys if key.startswith(off)}
        counts: Counter[str] = Counter()
        for key in model_keys:
            parts = key.split(".")
            for depth in range(len(parts)):
                if ".".join(parts[depth:]) in bare:
                    counts["".join(part + "." for part in parts[:depth])] += 1
        for on, count in counts.items():
            if count > best_count:
                best, best_count = (off, on), count
    return best if best_count * 2 >= len(file_keys) else None
