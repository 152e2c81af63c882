"""PySlowFast's X3D and MViTv2 under the names of the libraries whose modules our backbones hold.

Those are pytorchvideo's X3D and torchvision's MViT, ported from PySlowFast: the same networks, other names. They are
not in ``FORMATS``: after renaming, the file is one of the backbone's own library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mestad_d2.checkpoint.key_translation import Rules, translate

_BLOCK = r"s(?P<stage>[2-5])\.pathway0_res(?P<n>\d+)\."
_OURS = "blocks.{stage}.res_blocks.{n}."
X3D: Rules = (
    # pytorchvideo names the two halves of the stem the other way round.
    (r"s1\.pathway0_stem\.conv_xy\.weight", "blocks.0.conv.conv_t.weight"),
    (r"s1\.pathway0_stem\.conv\.weight", "blocks.0.conv.conv_xy.weight"),
    (r"s1\.pathway0_stem\.bn\.(?P<x>\w+)", "blocks.0.norm.{x}"),
    (_BLOCK + r"branch1\.weight", _OURS + "branch1_conv.weight"),
    (_BLOCK + r"branch1_bn\.(?P<x>\w+)", _OURS + "branch1_norm.{x}"),
    (_BLOCK + r"branch2\.(?P<abc>[abc])\.weight", _OURS + "branch2.conv_{abc}.weight"),
    (_BLOCK + r"branch2\.(?P<abc>[ac])_bn\.(?P<x>\w+)", _OURS + "branch2.norm_{abc}.{x}"),
    (_BLOCK + r"branch2\.b_bn\.(?P<x>\w+)", _OURS + "branch2.norm_b.0.{x}"),
    (_BLOCK + r"branch2\.se\.fc(?P<fc>[12])\.(?P<x>\w+)", _OURS + "branch2.norm_b.1.block.{fc}.{x}"),
)
_X3D_WORDS = {"stage": lambda n: str(int(n) - 1), "fc": {"1": "0", "2": "2"}.__getitem__}

MVIT: Rules = (
    (r"cls_token", "pos_encoding.class_token"),
    (r"patch_embed\.proj\.(?P<x>\w+)", "conv_proj.{x}"),
    (r"(?P<block>blocks\.\d+)\.proj\.(?P<x>\w+)", "{block}.project.{x}"),
    (r"(?P<block>blocks\.\d+)\.attn\.proj\.(?P<x>\w+)", "{block}.attn.project.0.{x}"),
    (r"(?P<block>blocks\.\d+)\.attn\.pool_(?P<qkv>[qkv])\.weight", "{block}.attn.pool_{qkv}.pool.weight"),
    (
        r"(?P<block>blocks\.\d+)\.attn\.norm_(?P<qkv>[qkv])\.(?P<x>\w+)",
        "{block}.attn.pool_{qkv}.norm_act.0.{x}",
    ),
    (r"(?P<block>blocks\.\d+)\.mlp\.fc(?P<fc>[12])\.(?P<x>\w+)", "{block}.mlp.{fc}.{x}"),
)
_MVIT_WORDS = {"fc": {"1": "0", "2": "3"}.__getitem__}


def as_library(state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a file's tensors under the names of the library that ``model`` is built of; untouched where they are not
    PySlowFast's X3D or MViT."""
    if any(".x3d." in f".{key}" for key in model) and any(
        re.fullmatch(_BLOCK + r"branch2\.b\.weight", key) and state[key].shape[1] == 1 for key in state
    ):
        return {translate(key, X3D, _X3D_WORDS) or key: tensor for key, tensor in state.items()}
    if any(".mvit." in f".{key}" for key in model) and "blocks.0.attn.pool_q.weight" in state:
        renamed = {translate(key, MVIT, _MVIT_WORDS) or key: tensor for key, tensor in state.items()}
        token = "pos_encoding.class_token"
        return renamed | ({token: renamed[token].flatten()} if token in renamed else {})
    return state
