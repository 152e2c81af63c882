"""PySlowFast's own models (``.pyth``).

Keys: ``s1`` is the stem, ``s2``..``s5`` the stages, ``pathway0`` slow and ``pathway1`` fast, ``sN_fuse`` the
lateral connection after ``sN``; layers a, b, c of a block lie in ``branch2``, a non-local block after block 6
is ``pathway0_nonlocal6``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mestad_d2.checkpoint.formats import facebook
from mestad_d2.checkpoint.key_translation import Named, rename

NAME = "PySlowFast"

_BLOCK = r"s(?P<stage>[2-5])\.pathway(?P<path>[01])_res(?P<block>\d+)\."
_NON_LOCAL = r"s(?P<stage>[2-5])\.pathway(?P<path>[01])_nonlocal(?P<block>\d+)\."
RULES = (
    (r"s1\.pathway(?P<path>[01])_stem\.conv\.weight", "{path}.stem.conv.weight"),
    (r"s1\.pathway(?P<path>[01])_stem\.bn\.(?P<x>\w+)", "{path}.stem.norm.{x}"),
    (_BLOCK + r"branch1\.weight", "{path}.{stage}.{block}.branch1_conv.weight"),
    (_BLOCK + r"branch1_bn\.(?P<x>\w+)", "{path}.{stage}.{block}.branch1_norm.{x}"),
    (_BLOCK + r"branch2\.(?P<abc>[abc])\.weight", "{path}.{stage}.{block}.branch2.conv_{abc}.weight"),
    (_BLOCK + r"branch2\.(?P<abc>[abc])_bn\.(?P<x>\w+)", "{path}.{stage}.{block}.branch2.norm_{abc}.{x}"),
    (
        _NON_LOCAL + r"conv_(?P<layer>theta|phi|g|out)\.(?P<x>weight|bias)",
        "{path}.{stage}.{block}.non_local.conv_{layer}.{x}",
    ),
    (_NON_LOCAL + r"bn\.(?P<x>\w+)", "{path}.{stage}.{block}.non_local.norm.{x}"),
    (r"s(?P<stage>[1-4])_fuse\.conv_f2s\.weight", "lateral.{stage}.conv.weight"),
    (r"s(?P<stage>[1-4])_fuse\.bn\.(?P<x>\w+)", "lateral.{stage}.norm.{x}"),
    (r"head\.projection\.(?P<x>weight|bias)", "head.{x}"),
)
WORDS = {
    "path": {"0": "slow", "1": "fast"}.__getitem__,
    "stage": lambda n: "stem" if n == "1" else f"res{n}",
}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are of this format."""
    return any(re.match(r"s[2-5]\.pathway[01]_res\d+\.", key) for key in state)


def canonical(state: Mapping[str, Tensor]) -> Named:
    """Return the tensors under canonical names."""
    return rename(state, RULES, WORDS)


def expected(named: Named, detector: bool, config: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the settings that no tensor shows, and the preset that has them."""
    found = facebook.expected(named, detector)
    found |= facebook.from_dump(config, detector) if config else {}
    aligned = found.get("ROI_ACTION_HEAD.POOLER_ALIGNED", True)
    return found, facebook.preset(named, aligned) if detector else None
