"""Settings of a model that its tensors do not show, compared with those of a weights file.

Settings are named by their config keys without ``MODEL.``, such as ``ROI_ACTION_HEAD.POOLER_ALIGNED``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

Settings = dict[str, Any]


def model_settings(model: nn.Module) -> Settings:
    """Read the settings of a built model from its modules; those of parts that it lacks are left out."""
    found: Settings = {}
    if hasattr(model, "pixel_mean"):
        found["PIXEL_MEAN"] = model.pixel_mean.flatten().tolist()
        found["PIXEL_STD"] = model.pixel_std.flatten().tolist()
    backbone = getattr(model, "backbone", model)
    slow, fast = getattr(backbone, "slow", None), getattr(backbone, "fast", None)
    if slow is not None:
        found["VIDEO_RESNET.RES5_STRIDE"] = slow.strides["res5"] // slow.strides["res4"]
        found["VIDEO_RESNET.RES5_DILATION"] = _dilation(slow)
        found["VIDEO_RESNET.TEMPORAL_POOL"] = _temporal_pool(slow)
    if fast is not None:
        found["SLOWFAST.FAST_RES5_DILATION"] = _dilation(fast)
        found["SLOWFAST.ALPHA"] = backbone.alpha
        found["SLOWFAST.SLOW_SAMPLING"] = backbone.slow_sampling
        lateral = backbone.laterals["stem"]
        found["SLOWFAST.FUSION_NORM"] = not isinstance(lateral.norm, nn.Identity)
        found["SLOWFAST.FUSION_RELU"] = isinstance(lateral.activation, nn.ReLU)
    found |= _non_local(backbone)
    heads = getattr(model, "roi_heads", None)
    if hasattr(heads, "pooler"):
        aligner = heads.pooler.level_poolers[0]
        found["ROI_ACTION_HEAD.POOLER_RESOLUTION"] = aligner.output_size[0]
        found["ROI_ACTION_HEAD.POOLER_ALIGNED"] = aligner.aligned
    return found


def _dilation(pathway: nn.Module) -> int:
    convolutions = [m for n, m in pathway.res5.named_modules() if n.endswith("branch2.conv_b")]
    return convolutions[-1].dilation[1]


def _temporal_pool(pathway: nn.Module) -> int:
    size = getattr(pathway.temporal_pool, "kernel_size", (1, 1, 1))
    return size[0]


def _non_local(backbone: nn.Module) -> Settings:
    block = next((m for m in backbone.modules() if hasattr(m, "conv_theta")), None)
    if block is None:
        return {}
    after = getattr(block.conv_phi, "pool", None)
    pool = block.pool if after is None else after
    return {
        "NONLOCAL.POOL": [1, 1, 1] if pool is None else list(pool.kernel_size),
        "NONLOCAL.POOL_FIRST": after is None,
        "NONLOCAL.INSTANTIATION": block.instantiation,
    }


def differing(expected: Mapping[str, Any], have: Mapping[str, Any]) -> Settings:
    """Return the ``expected`` settings that differ from the model's; settings of absent parts do not count."""
    return {key: value for key, value in expected.items() if key in have and not _same(value, have[key])}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=1e-3))


def note(origin: str, wanted: Mapping[str, Any], have: Mapping[str, Any], preset: str | None) -> str:
    """Name in one line the keys to set so that the model computes what the file's model did."""
    keys = ", ".join(f"MODEL.{key} {value} (here {_short(have[key])})" for key, value in wanted.items())
    also = f", or use the config published/{preset}" if preset else ""
    return f"what no tensor shows: {origin}'s model had {keys}; set these to compute what it did{also}"


def _short(value: Any) -> Any:
    return [round(v, 3) for v in value] if isinstance(value, list) else value
