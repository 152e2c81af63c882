"""Weights of another network: one line names it and the config to use, or that there is no such backbone."""

from __future__ import annotations

import pytest
import torch
from pytorchvideo.models.resnet import create_resnet
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch import Tensor, nn
from torchvision.models import resnet18, swin_t, video, vit_b_16

from mestad_d2 import model_zoo
from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.networks import network_of, other_network
from mestad_d2.errors import UserError
from mestad_d2.modeling.build import build_detector

OWN = {
    "SlowFast": "SlowFast_R50_8x8", "SlowOnly (or C2D, I3D)": "SlowOnly_R50_4x16", "X3D": "X3D_S_13x6",
    "MViT": "MViTv2_S_16x4", "Video-Swin": "VideoSwin_T_32x2", "Hiera": "Hiera_B_16x4",
    "VideoMAE": "VideoMAE_B_16x4",
}  # fmt: skip


def library_model(name: str) -> nn.Module:
    """A network as its library builds it."""
    builders = {
        "s3d": video.s3d, "r3d_18": video.r3d_18, "mc3_18": video.mc3_18, "r2plus1d_18": video.r2plus1d_18,
        "mvit_v1_b": video.mvit_v1_b, "mvit_v2_s": video.mvit_v2_s, "swin3d_t": video.swin3d_t, "resnet18": resnet18,
        "swin_t": swin_t, "vit_b_16": vit_b_16, "x3d": create_x3d, "slowfast": create_slowfast, "slow": create_resnet,
    }  # fmt: skip
    if name in builders:
        return builders[name]()
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config, model = {
        "timesformer": (transformers.TimesformerConfig, transformers.TimesformerModel),
        "videomae": (transformers.VideoMAEConfig, transformers.VideoMAEForVideoClassification),
        "vivit": (transformers.VivitConfig, transformers.VivitModel),
        "vjepa2": (transformers.VJEPA2Config, transformers.VJEPA2Model),
    }[name]
    return model(config(**small))


LIBRARIES = {
    "s3d": ("S3D", False), "r3d_18": ("R3D", False), "mc3_18": ("R3D", False), "r2plus1d_18": ("R3D", False),
    "resnet18": ("images", False), "swin_t": ("images", False), "vit_b_16": ("images", False),
    "timesformer": ("TimeSformer", False), "mvit_v1_b": ("MViT", True), "mvit_v2_s": ("MViT", True),
    "swin3d_t": ("Video-Swin", True), "x3d": ("X3D", True), "videomae": ("VideoMAE", True), "vivit": ("ViViT", True),
    "vjepa2": ("V-JEPA 2", True), "slowfast": ("SlowFast", True), "slow": ("SlowOnly", True),
}  # fmt: skip


@pytest.fixture(scope="module")
def own() -> dict[str, dict[str, Tensor]]:
    """State dicts of our detectors, without values."""
    found = {}
    for name, config in OWN.items():
        cfg = model_zoo.get_config(f"AVA-v2.2/{config}")
        cfg.MODEL.DEVICE = "meta"
        with torch.device("meta"):
            found[name] = build_detector(cfg).state_dict()
    return found


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_librarys_network_is_known(name: str, own) -> None:
    with torch.device("meta"):
        state = library_model(name).state_dict()
    expected, here = LIBRARIES[name]
    assert network_of(state).name.startswith(expected)
    model = own["X3D" if expected != "X3D" else "Hiera"]
    told = other_network(state, model)
    assert told.startswith(f"these are weights of {expected}")
    assert ("use a config with this backbone" in told) == here
    assert ("there is no such backbone here" in told) == (not here)


def test_our_own_are_known_and_fit_themselves(own) -> None:
    for name, state in own.items():
        assert network_of(state).name == name
        assert other_network(state, state) is None
    assert other_network(own["SlowOnly (or C2D, I3D)"], own["SlowFast"]) is None


# Keys as their projects' code names them.
KEYS = {
    "Rev-MViT": ["rev_backbone.layers.0.F.attn.qkv.weight"],
    "UniFormer": ["backbone.blocks1.0.pos_embed.weight", "backbone.patch_embed1.proj.weight"],
    "UniFormerV2": ["backbone.transformer.resblocks.0.lmhra1.conv.1.weight", "backbone.conv1.weight"],
    "TimeSformer": ["backbone.transformer_layers.layers.0.attentions.0.temporal_fc.weight"],
    "InternVideo2": ["blocks.0.ls1.gamma", "blocks.0.attn.qkv.weight", "patch_embed.proj.weight"],
    "S3D or Inception-I3D": ["Mixed_3b.b1a.conv3d.weight"],
}


@pytest.mark.parametrize("name", KEYS)
def test_networks_without_a_backbone_here_are_named(name: str, own, tmp_path) -> None:
    state = {key: torch.zeros(2, 2, 1, 1, 1) for key in KEYS[name]}
    assert network_of(state).name == name
    cfg = model_zoo.get_config("AVA-v2.2/SlowOnly_R50_4x16")
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.VIDEO_RESNET.WIDTH", 8])
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=f"these are weights of {name}") as error:
        MESTADCheckpointer(build_detector(cfg)).load(str(tmp_path / "other.pth"))
    assert "\n" not in str(error.value)
