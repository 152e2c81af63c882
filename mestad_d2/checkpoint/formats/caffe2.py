"""Caffe2 blobs of the SlowFast and non-local models (PySlowFast's ``.pkl`` files).

Blobs: ``_w`` and ``_b`` of a convolution or linear layer; ``_s``, ``_b``, ``_rm``, ``_riv`` scale, bias, mean
and variance of a norm (``riv`` holds the variance itself, whatever its name says); ``t_`` in front: fast.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mestad_d2.checkpoint.formats import facebook
from mestad_d2.checkpoint.key_translation import Named, rename

NAME = "Caffe2"

_BN = r"_bn_(?P<bn>s|b|rm|riv)"
_BLOCK = r"(?P<path>t_)?res(?P<stage>[2-5])_(?P<block>\d+)_branch"
_NON_LOCAL = r"nonlocal_conv(?P<stage>[2-5])_(?P<block>\d+)_"
RULES = (
    (r"(?P<path>t_)?conv1_w", "{path}.stem.conv.weight"),
    (r"(?P<path>t_)?res_conv1" + _BN, "{path}.stem.norm.{bn}"),
    (_BLOCK + "1_w", "{path}.{stage}.{block}.branch1_conv.weight"),
    (_BLOCK + "1" + _BN, "{path}.{stage}.{block}.branch1_norm.{bn}"),
    (_BLOCK + "2(?P<abc>[abc])_w", "{path}.{stage}.{block}.branch2.conv_{abc}.weight"),
    (_BLOCK + "2(?P<abc>[abc])" + _BN, "{path}.{stage}.{block}.branch2.norm_{abc}.{bn}"),
    (
        _NON_LOCAL + r"(?P<layer>theta|phi|g|out)_(?P<wb>[wb])",
        "slow.{stage}.{block}.non_local.conv_{layer}.{wb}",
    ),
    (_NON_LOCAL.removesuffix("_") + _BN, "slow.{stage}.{block}.non_local.norm.{bn}"),
    (r"t_pool1_subsample_w", "lateral.stem.conv.weight"),
    (r"t_pool1_subsample" + _BN, "lateral.stem.norm.{bn}"),
    (r"t_res(?P<stage>[2-4])_\d+_branch2c_bn_subsample_w", "lateral.{stage}.conv.weight"),
    (r"t_res(?P<stage>[2-4])_\d+_branch2c_bn_subsample" + _BN, "lateral.{stage}.norm.{bn}"),
    (r"pred_(?P<wb>[wb])", "head.{wb}"),
)
WORDS = {
    "path": lambda t: "fast" if t else "slow",
    "stage": lambda n: f"res{n}",
    "bn": {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}.__getitem__,
    "wb": {"w": "weight", "b": "bias"}.__getitem__,
}
# State of Caffe2's solver, which lies among the weights.
SOLVER = re.compile(r".*_momentum|lr|model_iter")


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are of this format."""
    return any(re.match(r"(t_)?res[2-5]_\d+_branch2[abc]_w$", key) for key in state)


def canonical(state: Mapping[str, Tensor]) -> Named:
    """Return the tensors under canonical names."""
    return rename({key: blob for key, blob in state.items() if not SOLVER.fullmatch(key)}, RULES, WORDS)


def expected(named: Named, detector: bool, config: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the settings that no tensor shows, and the preset that has them."""
    found = facebook.expected(named, detector, aligned=False)
    return found, facebook.preset(named, False) if detector else None
