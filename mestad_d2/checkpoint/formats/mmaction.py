"""mmaction2's ResNet3dSlowFast and ResNet3dSlowOnly (``.pth``), as recognisers or in a detector.

Keys: ``backbone.slow_path`` and ``.fast_path``, or ``backbone`` alone for slow-only; ``conv1`` is the stem,
``layer1``..``layer4`` are res2..res5; each convolution has ``conv`` and ``bn`` inside. Lateral connections
(``conv1_lateral``, ``layer1_lateral`` ...) are bare convolutions, or with ``lateral_norm`` end with norm and ReLU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mestad_d2.checkpoint.key_translation import Named, rename

NAME = "mmaction2"
# Row 0 of a detector's head is the background, which its loss and its scores leave out.
BACKGROUND_ROW = True
# Mean and deviation of the pixels that its models were trained on, RGB in 0..255.
PIXELS = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])

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
    (r"(?:cls_head|roi_head\.bbox_head)\.fc_cls\.(?:2\.)?(?P<x>weight|bias)", "head.{x}"),
    (r"roi_head\.bbox_head\.fc_cls\.0\.(?P<x>weight|bias)", "head.hidden.0.{x}"),
    (r"roi_head\.shared_head\.(?P<rest>conv[12]\.(?:conv|bn)\.\w+)", "head.relation.{rest}"),
)
WORDS = {
    "path": lambda name: name or "slow",
    "stage": lambda n: f"res{int(n) + 1}",
    "abc": {"1": "a", "2": "b", "3": "c"}.__getitem__,
}


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are of this format."""
    return any(re.match(_BLOCK + r"conv[123]\.conv\.weight$", key) for key in state)


def canonical(state: Mapping[str, Tensor]) -> Named:
    """Return the tensors under canonical names."""
    return rename(state, RULES, WORDS)


def expected(named: Named, detector: bool, config: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the settings that no tensor shows, and the preset that has them."""
    found: dict[str, Any] = {"PIXEL_MEAN": PIXELS[0], "PIXEL_STD": PIXELS[1]}
    fast = "fast.stem.conv.weight" in named.tensors
    if fast:
        # The ReLU comes with the norm; a norm that the file lacks was filled in.
        norm = "lateral.stem.norm.weight"
        has_norm = norm in named.tensors and norm not in named.filled
        found |= {"SLOWFAST.FUSION_NORM": has_norm, "SLOWFAST.FUSION_RELU": has_norm}
    if any(".non_local." in name for name in named.tensors):
        found |= {"NONLOCAL.POOL": [1, 2, 2], "NONLOCAL.POOL_FIRST": False}
    if not detector:
        return found, None
    found |= {
        "VIDEO_RESNET.RES5_STRIDE": 1,
        "VIDEO_RESNET.RES5_DILATION": 1,
        "SLOWFAST.FAST_RES5_DILATION": 1,
        "SLOWFAST.SLOW_SAMPLING": "stride",
        "ROI_ACTION_HEAD.POOLER_RESOLUTION": 8,
        "ROI_ACTION_HEAD.POOLER_ALIGNED": True,
    }
    return found, "mmaction2/slowfast_r50_8x8" if fast else "mmaction2/slowonly_r50_4x16"
