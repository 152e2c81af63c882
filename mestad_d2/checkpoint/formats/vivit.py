"""transformers' ViViT: its version 5 has other names for the layers than 4 and the files of that time.

No format of ``FORMATS``: the backbone keeps the library's own names, those of the installed version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# Version 4, version 5; within a layer.
NAMES = (
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("layernorm_before", "layernorm_before"),
    ("layernorm_after", "layernorm_after"),
)
LAYERS = ("encoder.layer.", "layers.")
OURS = re.compile(r"(?:backbone\.)?vivit\.(encoder\.layer|layers)\.\d+\.")


def as_installed(state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a file's tensors with ViViT's layers named as in ``model``; untouched where that has no ViViT."""
    found = next((match for key in model if (match := OURS.match(key))), None)
    if found is None:
        return state
    have, want = (0, 1) if found[1] + "." == LAYERS[1] else (1, 0)
    names = {pair[have]: pair[want] for pair in NAMES}
    pattern = re.compile(
        rf"(?P<front>.*?){re.escape(LAYERS[have])}(?P<layer>\d+)\."
        rf"(?P<name>{'|'.join(map(re.escape, names))})\.(?P<leaf>weight|bias)"
    )

    def rename(key: str) -> str:
        parts = pattern.fullmatch(key)
        if parts is None:
            return key
        return f"{parts['front']}{LAYERS[want]}{parts['layer']}.{names[parts['name']]}.{parts['leaf']}"

    return {rename(key): tensor for key, tensor in state.items()}
