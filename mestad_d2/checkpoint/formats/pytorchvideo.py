"""pytorchvideo's ``create_slowfast``, ``create_resnet`` and their builders with an RoI head.

Keys: ``blocks.0`` is the stem, the next four blocks with ``res_blocks`` are res2..res5;
``multipathway_blocks.0`` is slow, ``.1`` fast, ``multipathway_fusion`` the lateral connection after them.
Detection models put ``model.`` in front (so does PySlowFast around models of pytorchvideo) and have a
``detection_head``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mestad_d2.checkpoint.formats import facebook
from mestad_d2.checkpoint.key_translation import Named, rename

NAME = "pytorchvideo"

_STAGE = r"(?:model\.)?blocks\.(?P<stage>\d+)\."
RULES = (
    (r"(?:model\.)?blocks\.0\.(?P<layer>conv|norm)\.(?P<x>\w+)", "slow.stem.{layer}.{x}"),
    (
        r"(?:model\.)?blocks\.0\.multipathway_blocks\.(?P<path>[01])\.(?P<layer>conv|norm)\.(?P<x>\w+)",
        "{path}.stem.{layer}.{x}",
    ),
    (_STAGE + r"res_blocks\.(?P<block>\d+)\.(?P<rest>branch[12].+)", "slow.{stage}.{block}.{rest}"),
    (
        _STAGE + r"multipathway_blocks\.(?P<path>[01])\.res_blocks\.(?P<block>\d+)\.(?P<rest>branch[12].+)",
        "{path}.{stage}.{block}.{rest}",
    ),
    (_STAGE + r"multipathway_fusion\.conv_fast_to_slow\.weight", "lateral.{stage}.conv.weight"),
    (_STAGE + r"multipathway_fusion\.norm\.(?P<x>\w+)", "lateral.{stage}.norm.{x}"),
    (r"(?:(?:model\.)?blocks\.\d+|detection_head)\.proj\.(?P<x>weight|bias)", "head.{x}"),
)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are of this format."""
    return any(re.match(r"(model\.)?blocks\.\d+\.(multipathway_blocks\.\d\.)?res_blocks\.", k) for k in state)


def canonical(state: Mapping[str, Tensor]) -> Named:
    """Return the tensors under canonical names."""
    found = (re.match(_STAGE + r".*res_blocks\.", key) for key in state)
    # By rank, not by number: C2D and I3D have a pooling between res2 and res3.
    order = sorted({int(match["stage"]) for match in found if match})
    stages = {"0": "stem", **{str(n): f"res{k + 2}" for k, n in enumerate(order)}}
    words = {"path": {"0": "slow", "1": "fast"}.__getitem__, "stage": lambda n: stages.get(n, f"block{n}")}
    return rename(state, RULES, words)


def expected(named: Named, detector: bool, config: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the settings that no tensor shows, and the preset that has them."""
    found = facebook.expected(named, detector, aligned=False)
    fast = "fast.stem.conv.weight" in named.tensors
    return found, f"pytorchvideo/{'slowfast' if fast else 'slow'}_r50_detection" if detector else None
