"""VideoMAE's transformers: of its authors (v1 and v2), of mmaction2 (detectors too) and of transformers.

Canonical names are the authors' under ``vit.``. Pre-trained files have the encoder's tensors under ``encoder.`` beside
a decoder, fine-tuned ones a norm of the mean token (``fc_norm``), which becomes the last norm of all tokens. transformers
keeps queries, keys and values apart, and names the biases ``query.bias`` or ``q_bias`` by its version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mestad_d2.checkpoint.key_translation import Named, rename

NAME = "VideoMAE"
# Row 0 of a detector's head (mmaction2) is the background, which its loss and its scores leave out.
BACKGROUND_ROW = True
PIXELS = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])

_FRONT = r"(?:module\.|model\.|backbone\.|encoder\.|videomae\.)*"
_BLOCK = _FRONT + r"(?:blocks|layer|layers)\.(?P<n>\d+)\."
_X = r"(?P<x>weight|bias)"
RULES = (
    (
        _FRONT + r"(?:embeddings\.patch_embeddings|patch_embed)\.(?:proj|projection)\." + _X,
        "vit.patch_embed.proj.{x}",
    ),
    (_BLOCK + r"attn\.(?P<rest>qkv\.weight|q_bias|v_bias|proj\.\w+)", "vit.blocks.{n}.attn.{rest}"),
    (_BLOCK + r"(?P<rest>norm[12]\.\w+|mlp\.fc[12]\.\w+)", "vit.blocks.{n}.{rest}"),
    (_BLOCK + r"mlp\.layers\.0\.0\." + _X, "vit.blocks.{n}.mlp.fc1.{x}"),
    (_BLOCK + r"mlp\.layers\.1\." + _X, "vit.blocks.{n}.mlp.fc2.{x}"),
    (_BLOCK + r"attention\.attention\.(?:query\.bias|q_bias)", "vit.blocks.{n}.attn.q_bias"),
    (_BLOCK + r"attention\.attention\.(?:value\.bias|v_bias)", "vit.blocks.{n}.attn.v_bias"),
    (_BLOCK + r"attention\.output\.dense\." + _X, "vit.blocks.{n}.attn.proj.{x}"),
    (_BLOCK + r"layernorm_before\." + _X, "vit.blocks.{n}.norm1.{x}"),
    (_BLOCK + r"layernorm_after\." + _X, "vit.blocks.{n}.norm2.{x}"),
    (_BLOCK + r"intermediate\.dense\." + _X, "vit.blocks.{n}.mlp.fc1.{x}"),
    (_BLOCK + r"output\.dense\." + _X, "vit.blocks.{n}.mlp.fc2.{x}"),
    (_FRONT + r"(?:norm|fc_norm|layernorm)\." + _X, "vit.norm.{x}"),
    (
        r"(?:module\.|model\.)?(?:head|classifier|cls_head\.fc_cls|roi_head\.bbox_head\.fc_cls)\." + _X,
        "head.{x}",
    ),
)
_APART = re.compile(r"(?P<front>.*\.attention\.attention\.)(?P<part>query|key|value)\.weight")
_OWN = re.compile(_FRONT + r"blocks\.\d+\.attn\.q_bias")


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are of this format."""
    if any(_OWN.fullmatch(key) for key in state):
        return True
    # ViViT has the same names in transformers, and a class token.
    return any(_APART.fullmatch(key) for key in state) and not any("cls_token" in key for key in state)


def canonical(state: Mapping[str, Tensor]) -> Named:
    """Return the tensors under canonical names."""
    together, counted = {}, set()
    for key, tensor in state.items():
        found = _APART.fullmatch(key)
        if found is None or "decoder" in key:
            together[key] = tensor
        elif found["part"] == "query":
            counted.add(found["front"])
    named = rename(together, RULES)
    for front in counted:
        parts = [state.get(f"{front}{part}.weight") for part in ("query", "key", "value")]
        if all(part is not None for part in parts):
            number = re.search(r"\.(\d+)\.attention", front)[1]
            name = f"vit.blocks.{number}.attn.qkv.weight"
            named.tensors[name], named.source[name] = torch.cat(parts), front + "{query,key,value}.weight"
    _without_positions(named, state)
    width = next((t.shape[0] for n, t in named.tensors.items() if n.endswith("norm1.weight")), 0)
    for leaf, value in (("weight", 1.0), ("bias", 0.0)):
        name = f"vit.norm.{leaf}"
        if width and name not in named.tensors:
            named.tensors[name] = torch.full((width,), value)
            named.filled[name] = "plain last norm: the file has none"
    return named


def _without_positions(named: Named, state: Mapping[str, Tensor]) -> None:
    """Take mmaction2's table of fixed positions off the list of unknown tensors: the model computes the same."""
    named.unknown = [key for key in named.unknown if not key.endswith("pos_embed") or _learned(state[key])]


def _learned(table: Tensor) -> bool:
    # Fixed ones begin with sin 0, cos 0, sin 0 ...
    first = table.reshape(-1, table.shape[-1])[0]
    return not torch.equal(first, (torch.arange(len(first)) % 2).to(first))


def expected(named: Named, detector: bool, config: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the settings that no tensor shows, and the preset that has them."""
    found: dict[str, Any] = {"PIXEL_MEAN": PIXELS[0], "PIXEL_STD": PIXELS[1]}
    if not detector:
        return found, None
    found |= {"ROI_ACTION_HEAD.POOLER_RESOLUTION": 8, "ROI_ACTION_HEAD.POOLER_ALIGNED": True}
    width = named.tensors["vit.norm.weight"].shape[0]
    return found, f"mmaction2/videomae_{'large' if width == 1024 else 'base'}_16x4"
