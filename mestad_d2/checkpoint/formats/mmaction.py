"""mmaction2's ResNet3dSlowFast and ResNet3dSlowOnly (``.pth``), as recognisers or in a detector.

Keys: ``backbone.slow_path`` and ``.fast_path``, or ``backbone`` alone for slow-only; ``conv1`` is the stem,
``layer1``..``layer4`` are res2..res5; each convolution has ``conv`` and ``bn`` inside. Lateral connections
(``conv1_lateral``, ``layer1_lateral`` ...) have no ReLU, and a norm in a few configs only (``lateral_norm``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mestad_d2.checkpoint.key_translation import Named, rename

NAME = "mmaction2"
# Mean and deviation of the pixels that its models were trained on, RGB in 0..255.
PIXELS = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
# Its lateral connections end without ReLU, with a norm or none.
LATERAL_RELU = False

_PATH = r"(?:backbone\.)?(?:(?P<path>slow|fast)_path\.)?"
_BLOCK = _PATH + r"layer(?P<stage>[1-4])\.(?P<block>\d+)\."
RULES = (
    (_PATH + r"conv1\.conv\.weight", "{path}.stem.conv.weight"),
    (_PATH + r"conv1\.bn\.(?P<x>\w+)", "{path}.stem.norm.{x}"),
    (_PATH + r"conv1_lateral\.conv\.weight", "lateral.stem.conv.weight"),
    (_PATH + r"conv1_lateral\.bn\.(?P<x>\w+)", "lateral.stem.norm.{x}"),
    (_PATH + r"layer(?P<stage>[1-3])_lateral\.conv\.weight", "lateral.{stage}.conv.weight"),
    (_PATH + r"layer(?P<stage>[1-3])_lateral\.bn\.(?P<x>\w+)", "lateral.{stage}.norm.{x}"),
    (_BLOCK + r"downsample\.conv\.weight", "{path}.{stage}.{block}.branch1_conv.weight"),
    (_BLOCK + r"downsample\.bn\.(?P<x>\w+)", "{path}.{stage}.{block}.branch1_norm.{x}"),
    (_BLOCK + r"conv(?P<abc>[123])\.conv\.weight", "{path}.{stage}.{block}.branch2.conv_{abc}.weight"),
    (_BLOCK + r"conv(?P<abc>[123])\.bn\.(?P<x>\w+)", "{path}.{stage}.{block}.branch2.norm_{abc}.{x}"),
    (
        # With sub-sampling, g and phi are a sequence of convolution and pooling.
        _BLOCK + r"non_local_block\.(?P<layer>theta|phi|g)\.(?:0\.)?conv\.(?P<x>weight|bias)",
        "{path}.{stage}.{block}.non_local.conv_{layer}.{x}",
    ),
    (
        _BLOCK + r"non_local_block\.conv_out\.conv\.(?P<x>weight|bias)",
        "{path}.{stage}.{block}.non_local.conv_out.{x}",
    ),
    (_BLOCK + r"non_local_block\.conv_out\.bn\.(?P<x>\w+)", "{path}.{stage}.{block}.non_local.norm.{x}"),
    (r"(?:cls_head|roi_head\.bbox_head)\.fc_cls\.(?P<x>weight|bias)", "head.{x}"),
)
WORDS = {
    "path": lambda name: name or "slow",
    "stage": lambda n: f"res{int(n) + 1}",
    "abc": {"1": "a", "2": "b", "3": "c"}.__getitem__,
}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are of this format."""
    return any(re.match(_BLOCK + r"conv[123]\.conv\.weight$", key) for key in state)


def canonical(state: Mapping[str, Tensor]) -> Named:
    """The tensors under canonical names."""
    return rename(state, RULES, WORDS)
