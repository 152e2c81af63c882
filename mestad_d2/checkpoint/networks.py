"""Which network the weights in a file are of, where they are not the model's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mestad_d2.checkpoint.formats import videomae

State = Mapping[str, Tensor]
_FRONT = r"(?:module\.|model\.|backbone\.|encoder\.)*"


@dataclass(frozen=True)
class Network:
    """A network as its files show it.

    Attributes:
        name: what it is called.
        shows: a pattern that the whole of some key matches, or a test of the state dict.
        config: one of ours with this backbone; empty where there is none.
        module: first part of its keys in our backbone, below ``backbone.``.
    """

    name: str
    shows: str | Callable[[State], bool]
    config: str = ""
    module: str = ""

    def is_in(self, state: State) -> bool:
        """Return whether the tensors are of this network, ours or another project's."""
        if self.module and any(key.startswith(f"backbone.{self.module}.") for key in state):
            return True
        if callable(self.shows):
            return self.shows(state)
        return any(re.fullmatch(_FRONT + self.shows, key) for key in state)


def _depthwise_x3d(state: State) -> bool:
    keys = (key for key in state if re.fullmatch(r"s[2-5]\.pathway0_res\d+\.branch2\.b\.weight", key))
    return any(state[key].ndim == 5 and state[key].shape[1] == 1 for key in keys) or any(
        re.search(r"conv1_s\.conv\.weight$|branch2\.norm_b\.1\.block\.", key) for key in state
    )


def _of_images(state: State) -> bool:
    kernels = [tensor.ndim for key, tensor in state.items() if key.endswith("weight") and tensor.ndim >= 4]
    return bool(kernels) and set(kernels) == {4}


# In this order: the first that fits.
NETWORKS = (
    Network("Rev-MViT", r"rev_backbone\..+"),
    Network("UniFormer", r"blocks1\.0\.(?:pos_embed|conv1|norm1)\..+"),
    Network("UniFormerV2", r"(?:transformer\.)?(?:resblocks\.\d+\.(?:lmhra1|dpe)|dpe\.\d+|dec\.\d+)\..+"),
    Network(
        "TimeSformer", r".*\.temporal_(?:attn|fc|norm1|attention|dense|layernorm)\..+|transformer_layers\..+"
    ),
    Network("InternVideo2", r"blocks\.\d+\.(?:ls1|attn\.q_norm)\..+|clip_projector\..+"),
    Network("MViT", r"blocks\.\d+\.attn\.pool_k\..+", "AVA-v2.2/MViTv2_S_16x4", "mvit"),
    Network("Hiera", r"pos_embed_temporal|decoder_pos_embed_temporal", "AVA-v2.2/Hiera_B_16x4", "hiera"),
    Network("X3D", _depthwise_x3d, "AVA-v2.2/X3D_S_13x6", "x3d"),
    Network("images, not videos", _of_images),
    Network("Video-Swin", r".*\.attn\.relative_position_bias_table", "AVA-v2.2/VideoSwin_T_32x2", "swin"),
    Network("VideoMAE", videomae.recognises, "AVA-v2.2/VideoMAE_B_16x4", "vit"),
    Network("ViViT", r"(?:vivit\.)?embeddings\.cls_token", "AVA-v2.2/ViViT_B_32x2", "vivit"),
    Network(
        "V-JEPA 2",
        r"(?:vjepa2\.)?encoder\.layer\.\d+\.attention\.query\..+|layer\.\d+\.attention\.query\..+"
        r"|blocks\.\d+\.attn\.qkv\.bias",
        "AVA-v2.2/VJEPA2_L_16x4",
        "vjepa2",
    ),
    Network("S3D or Inception-I3D", r".*\bbranch[0-3]\.\d.*|.*\bb[0-3][ab]?\.(?:conv3d|bn)\..+|Conv3d_1a.*"),
    Network("R3D, MC3 or R(2+1)D", r"stem\.0\.weight|layer1\.0\.conv1\.(?:0|conv)\.(?:0|conv_s)\..+"),
    Network(
        "SlowFast",
        r"(?:fast_path|t_res\d|fast)[._].+|.*pathway1_.+|.*multipathway_.+",
        "AVA-v2.2/SlowFast_R50_8x8",
        "fast",
    ),
    Network(
        "SlowOnly (or C2D, I3D)",
        r"layer1\.0\.conv1\.conv\.weight|res2_0_branch2a_w|s2\.pathway0_res0\..+|blocks\.1\.res_blocks\.0\..+",
        "AVA-v2.2/SlowOnly_R50_4x16",
        "slow",
    ),
)


def network_of(state: State) -> Network | None:
    """Return the network that a state dict is of, or None."""
    return next((network for network in NETWORKS if network.is_in(state)), None)


def other_network(state: State, model: State) -> str | None:
    """Explain in one clause that a file is of another network than the model's; None where it is not, or unknown."""
    found, ours = network_of(state), network_of(model)
    # load_advice knows more of slow-only files in SlowFast.
    if found is None or found is ours or {found.module, getattr(ours, "module", "")} == {"slow", "fast"}:
        return None
    if found.config:
        return f"these are weights of {found.name}; use a config with this backbone, such as {found.config}"
    return f"these are weights of {found.name}, and there is no such backbone here; docs/weights.md lists those there are"
