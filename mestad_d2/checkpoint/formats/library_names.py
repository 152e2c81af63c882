"""Other projects' files of networks that are a library's module here, under that library's names.

PySlowFast's and mmaction2's X3D (pytorchvideo's here), MViT and Video-Swin (torchvision's), Meta's V-JEPA 2
(transformers'), Hiera (ours, with its authors' names): the same networks, other names. They are not in ``FORMATS``:
after renaming, the file is one of the backbone's own library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mestad_d2.checkpoint.formats import facebook, mmaction
from mestad_d2.checkpoint.key_translation import Rules, Words, translate

State = Mapping[str, Tensor]
# Why a tensor that the file lacks was filled in, by key.
Filled = dict[str, str]

# Mean and deviation of the pixels that the models were trained on, by the name of the module in our backbone; MViT is
# left out, since mmaction2 has versions of both kinds.
PIXELS = {
    "x3d": facebook.PIXELS,
    "hiera": facebook.PIXELS,
    "swin": mmaction.PIXELS,
    "vjepa2": mmaction.PIXELS,
    "vivit": ([127.5] * 3,) * 2,
}

_X = r"(?P<x>\w+)"
_BLOCK = r"s(?P<stage>[2-5])\.pathway0_res(?P<n>\d+)\."
_OURS = "blocks.{stage}.res_blocks.{n}."
_LAYER = r"layer(?P<layer>[1-4])\.(?P<n>\d+)\."
_MM = "blocks.{layer}.res_blocks.{n}."
X3D: Rules = (
    # pytorchvideo names the two halves of the stem the other way round.
    (r"s1\.pathway0_stem\.conv_xy\.weight", "blocks.0.conv.conv_t.weight"),
    (r"s1\.pathway0_stem\.conv\.weight", "blocks.0.conv.conv_xy.weight"),
    (r"s1\.pathway0_stem\.bn\." + _X, "blocks.0.norm.{x}"),
    (_BLOCK + r"branch1\.weight", _OURS + "branch1_conv.weight"),
    (_BLOCK + r"branch1_bn\." + _X, _OURS + "branch1_norm.{x}"),
    (_BLOCK + r"branch2\.(?P<abc>[abc])\.weight", _OURS + "branch2.conv_{abc}.weight"),
    (_BLOCK + r"branch2\.(?P<abc>[ac])_bn\." + _X, _OURS + "branch2.norm_{abc}.{x}"),
    (_BLOCK + r"branch2\.b_bn\." + _X, _OURS + "branch2.norm_b.0.{x}"),
    (_BLOCK + r"branch2\.se\.fc(?P<fc>[12])\." + _X, _OURS + "branch2.norm_b.1.block.{fc}.{x}"),
    # mmaction2
    (r"conv1_s\.conv\.weight", "blocks.0.conv.conv_t.weight"),
    (r"conv1_t\.conv\.weight", "blocks.0.conv.conv_xy.weight"),
    (r"conv1_t\.bn\." + _X, "blocks.0.norm.{x}"),
    (_LAYER + r"downsample\.conv\.weight", _MM + "branch1_conv.weight"),
    (_LAYER + r"downsample\.bn\." + _X, _MM + "branch1_norm.{x}"),
    (_LAYER + r"conv(?P<abc>[123])\.conv\.weight", _MM + "branch2.conv_{abc}.weight"),
    (_LAYER + r"conv(?P<abc>[13])\.bn\." + _X, _MM + "branch2.norm_{abc}.{x}"),
    (_LAYER + r"conv2\.bn\." + _X, _MM + "branch2.norm_b.0.{x}"),
    (_LAYER + r"se_module\.fc(?P<fc>[12])\." + _X, _MM + "branch2.norm_b.1.block.{fc}.{x}"),
)
_X3D_WORDS: Words = {
    "stage": lambda n: str(int(n) - 1),
    "fc": {"1": "0", "2": "2"}.__getitem__,
    "abc": lambda layer: {"1": "a", "2": "b", "3": "c"}.get(layer, layer),
}

_ANY = r"(?P<block>blocks\.\d+)\."
MVIT: Rules = (
    (r"(?:cls_positional_encoding\.)?cls_token", "pos_encoding.class_token"),
    (
        r"(?:cls_positional_encoding\.)?pos_embed_(?P<kind>spatial|temporal|class)",
        "pos_encoding.{kind}_pos",
    ),
    (r"patch_embed\.(?:proj|projection|patch_model)\." + _X, "conv_proj.{x}"),
    (_ANY + r"proj\." + _X, "{block}.project.{x}"),
    (_ANY + r"attn\.proj\." + _X, "{block}.attn.project.0.{x}"),
    (_ANY + r"attn\.pool_(?P<qkv>[qkv])\.weight", "{block}.attn.pool_{qkv}.pool.weight"),
    (_ANY + r"attn\.norm_(?P<qkv>[qkv])\." + _X, "{block}.attn.pool_{qkv}.norm_act.0.{x}"),
    (_ANY + r"mlp\.fc(?P<fc>[12])\." + _X, "{block}.mlp.{fc}.{x}"),
    # mmaction2, pytorchvideo
    (r"(?:norm3|norm_embed)\." + _X, "norm.{x}"),
)
_MLP_WORDS: Words = {"fc": {"1": "0", "2": "3"}.__getitem__}

_SWIN_BLOCK = r"layers\.(?P<stage>\d)\.blocks\.(?P<n>\d+)\."
SWIN: Rules = (
    (_SWIN_BLOCK + r"mlp\.fc(?P<fc>[12])\." + _X, "features.{stage}.{n}.mlp.{fc}.{x}"),
    (_SWIN_BLOCK + r"(?P<rest>.+)", "features.{stage}.{n}.{rest}"),
    (r"layers\.(?P<merge>\d)\.downsample\.(?P<rest>.+)", "features.{merge}.{rest}"),
    (r"norm3\." + _X, "norm.{x}"),
)
# torchvision counts stages and the merging of patches between them together.
_SWIN_WORDS: Words = {
    **_MLP_WORDS,
    "stage": lambda n: str(2 * int(n)),
    "merge": lambda n: str(2 * int(n) + 1),
}

_VIT_LAYER = r"blocks\.(?P<n>\d+)\."
VJEPA2: Rules = (
    (r"patch_embed\.proj\." + _X, "embeddings.patch_embeddings.proj.{x}"),
    (_VIT_LAYER + r"attn\.proj\." + _X, "layer.{n}.attention.proj.{x}"),
    (_VIT_LAYER + r"(?P<rest>(?:norm[12]|mlp\.fc[12])\.\w+)", "layer.{n}.{rest}"),
    (r"norm\." + _X, "layernorm.{x}"),
)


def as_library(state: State, model: State) -> tuple[State, Filled]:
    """Return a file's tensors under the names of the library that ``model`` is built of, and what was filled in.

    They are untouched where they are not another project's file of the same network.
    """
    kind = library_of(model)
    if kind not in RENAMERS:
        return state, {}
    bare = {key.removeprefix("backbone."): tensor for key, tensor in state.items()}
    renamed = RENAMERS[kind](bare)
    return (state, {}) if renamed is None else renamed


def library_of(model: State) -> str | None:
    """Return the name of the module that holds a library's network in our backbone, or None."""
    firsts = {key.removeprefix("backbone.").split(".")[0] for key in model}
    return next(
        (name for name in ("x3d", "mvit", "swin", "hiera", "vivit", "vjepa2") if name in firsts), None
    )


def _x3d(state: State) -> tuple[State, Filled] | None:
    depthwise = (
        re.fullmatch(_BLOCK + r"branch2\.b\.weight", key) and state[key].shape[1] == 1 for key in state
    )
    if "conv1_s.conv.weight" not in state and not any(depthwise):
        return None
    return _renamed(state, X3D, _X3D_WORDS), {}


def _mvit(state: State) -> tuple[State, Filled] | None:
    if "blocks.0.attn.pool_k.weight" not in state:
        return None
    renamed = _renamed(_joined_qkv(state), MVIT, _MLP_WORDS)
    # Without the axes of batch and tokens that broadcast.
    return {
        key: tensor.reshape(-1, tensor.shape[-1]).squeeze(0) if key.startswith("pos_encoding.") else tensor
        for key, tensor in renamed.items()
    }, {}


def _joined_qkv(state: State) -> dict[str, Tensor]:
    """Join pytorchvideo's three layers of queries, keys and values into one."""
    joined = dict(state)
    for key in state:
        if found := re.fullmatch(r"(blocks\.\d+\.attn\.)q\.(\w+)", key):
            parts = [joined.pop(f"{found[1]}{part}.{found[2]}", None) for part in "qkv"]
            if all(part is not None for part in parts):
                joined[f"{found[1]}qkv.{found[2]}"] = torch.cat(parts)
    return joined


def _swin(state: State) -> tuple[State, Filled] | None:
    if "layers.0.blocks.0.attn.relative_position_bias_table" not in state:
        return None
    return _renamed(state, SWIN, _SWIN_WORDS), {}


def _vjepa2(state: State) -> tuple[State, Filled] | None:
    if "blocks.0.attn.qkv.weight" not in state:
        return None
    renamed = {}
    for key, tensor in state.items():
        found = re.fullmatch(_VIT_LAYER + r"attn\.qkv\." + _X, key)
        if found is None:
            renamed[translate(key, VJEPA2) or key] = tensor
            continue
        for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            renamed[f"layer.{found['n']}.attention.{part}.{found['x']}"] = rows
    return renamed, {}


def _hiera(state: State) -> tuple[State, Filled] | None:
    """Fill in the last norm of pre-trained files, and leave out their decoder, which is most of their tensors."""
    if "encoder_norm.weight" not in state or "norm.weight" in state:
        return None
    width = state["encoder_norm.weight"].shape
    norm = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    why = "plain last norm: the file's is that of its decoder"
    return {**state, **norm}, dict.fromkeys(norm, why)


def _renamed(state: State, rules: Rules, words: Words) -> dict[str, Tensor]:
    return {translate(key, rules, words) or key: tensor for key, tensor in state.items()}


RENAMERS: dict[str, Callable[[State], tuple[State, Filled] | None]] = {
    "x3d": _x3d, "mvit": _mvit, "swin": _swin, "vjepa2": _vjepa2, "hiera": _hiera,
}  # fmt: skip
