"""Canonical names of a video ResNet's tensors, between the formats of others and our modules.

``slow.stem.conv.weight``, ``fast.res3.1.branch2.conv_b.weight``, ``slow.res4.6.non_local.norm.bias``,
``lateral.res2.conv.weight``, ``head.weight``: pathway, stage, block, layer. A format is a table of
(pattern of its keys, canonical template) and of how its words translate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Rules = Sequence[tuple[str, str]]
Words = Mapping[str, Callable[[str], str]]

BACKBONE = "backbone."

OURS: Rules = (
    (r"(?P<path>slow|fast)\.stem\.(?P<rest>.+)", "{path}.stem.{rest}"),
    (
        r"(?P<path>slow|fast)\.(?P<stage>res[2-5])\.res_blocks\.(?P<block>\d+)\.(?:block\.)?"
        r"(?P<rest>(?:branch[12]|non_local).+)",
        "{path}.{stage}.{block}.{rest}",
    ),
    (r"vit\.(?P<rest>(?:patch_embed|blocks|norm)\..+)", "vit.{rest}"),
    (r"laterals\.(?P<from>stem|res[234])\.conv_fast_to_slow\.weight", "lateral.{from}.conv.weight"),
    (r"laterals\.(?P<from>stem|res[234])\.norm\.(?P<x>\w+)", "lateral.{from}.norm.{x}"),
    (r"roi_heads\.(?:.+\.)?classifier\.(?P<x>weight|bias)", "head.{x}"),
    (r"roi_heads\.(?:.+\.)?hidden\.(?P<n>\d+)\.(?P<x>weight|bias)", "head.hidden.{n}.{x}"),
    (r"roi_heads\.(?:.+\.)?relation\.(?P<rest>conv\d\.(?:conv|bn)\.\w+)", "head.relation.{rest}"),
)


@dataclass
class Named:
    """Tensors of a file under canonical names.

    Attributes:
        tensors: by canonical name.
        source: key in the file, by canonical name.
        unknown: keys of the file that have no canonical name.
        filled: why a tensor missing in the file was filled in, by canonical name.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    filled: dict[str, str] = field(default_factory=dict)


def translate(key: str, rules: Rules, words: Words | None = None) -> str | None:
    """Return the canonical name of a key by the first rule that matches the whole key, or None."""
    words = words or {}
    for pattern, template in rules:
        found = re.fullmatch(pattern, key)
        if found:
            parts = {k: v if k not in words else words[k](v) for k, v in found.groupdict(default="").items()}
            return template.format(**parts)
    return None


def canonical_name(key: str) -> str | None:
    """Return the canonical name of a key of our model (whole or backbone alone), or None."""
    return translate(key.removeprefix(BACKBONE), OURS)


def rename(state: Mapping[str, Tensor], rules: Rules, words: Words | None = None) -> Named:
    """Return a state dict of another format under canonical names, with the tensors that the format omits filled in."""
    named = Named()
    for key, tensor in state.items():
        name = translate(key, rules, words)
        if name is None:
            named.unknown.append(key)
        else:
            named.tensors[name], named.source[name] = tensor, key
    _fill(named)
    return named


def _fill(named: Named) -> None:
    """Add identity norms and zero biases where a format has a layer without them.

    mmaction2's lateral connections have no norm by default, its non-local convolutions before a norm no bias.
    """
    weights = dict(named.tensors)
    for name, weight in weights.items():
        if re.fullmatch(r"lateral\.\w+\.conv\.weight", name):
            _fill_norm(named, name.replace("conv.weight", "norm"), weight.shape[0])
        elif re.search(r"non_local\.conv_\w+\.weight$", name):
            bias = name.replace("weight", "bias")
            if bias not in weights:
                named.tensors[bias] = torch.zeros(weight.shape[0])
                named.filled[bias] = "zero bias: the file's non-local block has none"
            if "conv_out" in name:
                _fill_norm(named, name.replace("conv_out.weight", "norm"), weight.shape[0])


def _fill_norm(named: Named, prefix: str, channels: int) -> None:
    if prefix + ".running_mean" in named.tensors:
        return
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for leaf, value in values.items():
        named.tensors[f"{prefix}.{leaf}"] = torch.full((channels,), value)
        named.filled[f"{prefix}.{leaf}"] = "identity norm: the file's layer has none"
