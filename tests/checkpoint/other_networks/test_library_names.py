"""X3D, MViT, Video-Swin and V-JEPA 2 of other projects: their names, written out by replacement, lead every tensor to
its place."""

from __future__ import annotations

import re

import pytest
import torch
from detectron2.modeling import build_backbone
from pytorchvideo.models.vision_transformers import create_multiscale_vision_transformers
from torch import Tensor, nn

from mestad_d2 import model_zoo
from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.errors import UserError


class Whole(nn.Module):
    """A backbone in its place, with a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.roi_heads = nn.ModuleDict({"classifier": nn.Linear(4, 80)})


def build(name: str, *opts: object) -> Whole:
    """A narrow backbone with random values everywhere."""
    cfg = model_zoo.get_config(f"AVA-v2.2/{name}")
    small = ["MODEL.VIDEO_BACKBONE.WIDTH", 24, "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", [1, 2, 2, 1]]
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *small, *opts])
    model = Whole(build_backbone(cfg))
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape))
    return model


def x3d_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """PySlowFast's: s1 the stem, s2..s5 the stages; the norm of b, then squeeze and excitation."""
    named = {}
    for key, tensor in state.items():
        key = key.removeprefix("backbone.x3d.blocks.")
        if key.startswith("0."):
            stem = {"0.conv.conv_t.weight": "conv_xy.weight", "0.conv.conv_xy.weight": "conv.weight"}
            named["s1.pathway0_stem." + stem.get(key, key.replace("0.norm.", "bn."))] = tensor
            continue
        stage, block, rest = re.fullmatch(r"(\d)\.res_blocks\.(\d+)\.(.+)", key).groups()
        for ours, theirs in (
            ("norm_b.1.block.0.", "se.fc1."), ("norm_b.1.block.2.", "se.fc2."), ("norm_b.0.", "b_bn."),
            ("branch1_conv.", "branch1."), ("branch1_norm.", "branch1_bn."), ("conv_", ""),
        ):  # fmt: skip
            rest = rest.replace(ours, theirs)
        rest = re.sub(r"norm_([ac])\.", r"\1_bn.", rest)
        named[f"s{int(stage) + 1}.pathway0_res{block}.{rest}"] = tensor
    return {**named, "head.projection.weight": torch.zeros(400, 4)}


def mvit_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """PySlowFast's: cls_token of three axes, pools and their norms side by side, fc1 and fc2."""
    named = {}
    for key, tensor in state.items():
        key = key.removeprefix("backbone.mvit.")
        key = re.sub(r"pool_(\w)\.norm_act\.0\.", r"norm_\1.", key)
        for ours, theirs in (
            ("attn.project.0.", "attn.proj."), ("project.", "proj."), (".pool.weight", ".weight"),
            ("mlp.0.", "mlp.fc1."), ("mlp.3.", "mlp.fc2."), ("conv_proj.", "patch_embed.proj."),
        ):  # fmt: skip
            key = key.replace(ours, theirs)
        if key == "pos_encoding.class_token":
            key, tensor = "cls_token", tensor.view(1, 1, -1)
        if found := re.fullmatch(r"pos_encoding\.(spatial|temporal|class)_pos", key):
            key, tensor = f"pos_embed_{found[1]}", tensor.view(1, -1, tensor.shape[-1])
        named[key] = tensor
    return {**named, "head.projection.weight": torch.zeros(400, 4)}


def mmactions_x3d_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """mmaction2's: layers 1 to 4, each convolution with ``conv`` and ``bn`` inside."""
    named = {"backbone.conv5.conv.weight": torch.zeros(4, 4, 1, 1, 1)}
    for key, tensor in state.items():
        key = key.removeprefix("backbone.x3d.blocks.")
        if key.startswith("0."):
            stem = {
                "0.conv.conv_t.weight": "conv1_s.conv.weight",
                "0.conv.conv_xy.weight": "conv1_t.conv.weight",
            }
            named["backbone." + stem.get(key, key.replace("0.norm.", "conv1_t.bn."))] = tensor
            continue
        stage, block, rest = re.fullmatch(r"(\d)\.res_blocks\.(\d+)\.(.+)", key).groups()
        for ours, theirs in (
            ("norm_b.1.block.0.", "se_module.fc1."), ("norm_b.1.block.2.", "se_module.fc2."), ("norm_b.0.", "conv2.bn."),
            ("branch1_conv.", "downsample.conv."), ("branch1_norm.", "downsample.bn."), ("branch2.", ""),
            ("conv_a.", "conv1.conv."), ("conv_b.", "conv2.conv."), ("conv_c.", "conv3.conv."),
            ("norm_a.", "conv1.bn."), ("norm_c.", "conv3.bn."),
        ):  # fmt: skip
            rest = rest.replace(ours, theirs)
        named[f"backbone.layer{stage}.{block}.{rest}"] = tensor
    return named


def mmactions_mvit_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """mmaction2's: PySlowFast's, but for the patches and the last norm, under ``backbone``."""
    named = mvit_names(state)
    named.pop("head.projection.weight")
    pairs = (("patch_embed.proj.", "patch_embed.projection."), (r"^norm\.", "norm3."))
    return {"backbone." + _replaced(key, pairs): tensor for key, tensor in named.items()}


def swin_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """mmaction2's and its authors': stages with their merging of patches inside."""
    named = {}
    for key, tensor in state.items():
        key = key.removeprefix("backbone.swin.")
        found = re.fullmatch(r"features\.(\d)\.(.+)", key)
        if found:
            stage, rest = divmod(int(found[1]), 2), found[2]
            rest = rest.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
            key = f"layers.{stage[0]}." + ("downsample." if stage[1] else "blocks.") + rest
        named["backbone." + re.sub(r"^norm\.", "norm3.", key)] = tensor
    return named


def _replaced(key: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in pairs:
        key = re.sub(ours, theirs, key)
    return key


MVIT_V1 = ("MODEL.VIDEO_BACKBONE.VARIANT", "v1_b")
MVIT_OF_24 = ("MODEL.VIDEO_BACKBONE.VARIANT", "v1_b24_32", "INPUT.CLIP.NUM_FRAMES", 32)
SHORTCUT = ("MODEL.VIDEO_BACKBONE.SHORTCUT_NORM", True)
CASES = {
    "X3D": ("X3D_S_13x6", x3d_names, SHORTCUT),
    "MViTv2": ("MViTv2_S_16x4", mvit_names, ()),
    "MViT-B": ("MViTv1_B_16x4", mvit_names, MVIT_V1),
    "MViT-B with 24 blocks": ("MViTv1_B_16x4", mvit_names, MVIT_OF_24),
    "mmaction2's X3D": ("X3D_S_13x6", mmactions_x3d_names, SHORTCUT),
    "mmaction2's MViTv2": ("MViTv2_S_16x4", mmactions_mvit_names, ()),
    "mmaction2's Video-Swin": ("VideoSwin_T_32x2", swin_names, ()),
}


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_goes_to_its_place(name: str, tmp_path) -> None:
    config, rename, opts = CASES[name]
    torch.manual_seed(0)
    source, target = build(config, *opts), build(config, *opts)
    state = {key: tensor for key, tensor in source.state_dict().items() if key.startswith("backbone.")}
    torch.save({"model_state": rename(state)}, tmp_path / "file.pyth")
    checkpointer = MESTADCheckpointer(target)
    checkpointer.load(str(tmp_path / "file.pyth"), checkpointables=[])
    report = checkpointer.last_report
    assert not report.missing
    assert set(report.dropped) <= {"head.projection.weight", "conv5.conv.weight"}
    for key, tensor in state.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(target.state_dict()[key], tensor), key


def test_pytorchvideos_mvit_computes_the_same(tmp_path) -> None:
    torch.manual_seed(0)
    steps = [[block, 2.0] for block in (1, 3, 5)]
    library = create_multiscale_vision_transformers(
        spatial_size=224, temporal_size=16, depth=6, patch_embed_dim=24, num_heads=1, head=None,
        embed_dim_mul=steps, atten_head_mul=steps, pool_q_stride_size=[[block, 1, 2, 2] for block in (1, 3, 5)],
        pool_kv_stride_adaptive=[1, 8, 8], pool_kvq_kernel=[3, 3, 3],
    ).eval()  # fmt: skip
    for tensor in library.parameters():
        tensor.data += 0.2 * torch.randn(tensor.shape)
    torch.save({"model_state": library.state_dict()}, tmp_path / "file.pyth")
    model = build("MViTv1_B_16x4", *MVIT_V1).eval()
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(str(tmp_path / "file.pyth"), checkpointables=[])
    assert not checkpointer.last_report.missing and not checkpointer.last_report.dropped
    clips = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        wanted = library(clips)[:, 1:].transpose(1, 2)
        found = model.backbone(clips)["res5"][0].flatten(2)
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_pools_of_another_mvit_are_an_error_that_names_the_variant(tmp_path) -> None:
    torch.save(
        {"model_state": mvit_names(build("MViTv1_B_16x4", *MVIT_OF_24).state_dict())}, tmp_path / "file.pyth"
    )
    target = build("MViTv1_B_16x4", "MODEL.VIDEO_BACKBONE.VARIANT", "v1_b_32")
    with pytest.raises(UserError, match=r"another MViT: try another MODEL\.VIDEO_BACKBONE\.VARIANT"):
        MESTADCheckpointer(target).load(str(tmp_path / "file.pyth"))


def test_a_norm_that_the_model_lacks_is_told_with_the_key_to_set(tmp_path) -> None:
    state = x3d_names(
        {k: v for k, v in build("X3D_S_13x6", *CASES["X3D"][2]).state_dict().items() if "x3d" in k}
    )
    torch.save({"model_state": state}, tmp_path / "file.pyth")
    checkpointer = MESTADCheckpointer(build("X3D_S_13x6"))
    checkpointer.load(str(tmp_path / "file.pyth"), checkpointables=[])
    assert "MODEL.VIDEO_BACKBONE.SHORTCUT_NORM True" in checkpointer.last_report.table()


def test_a_file_of_pytorchvideo_in_a_model_with_that_norm_is_an_error(tmp_path) -> None:
    state = {k.removeprefix("backbone.x3d."): v for k, v in build("X3D_S_13x6").state_dict().items()}
    torch.save({"model_state": state}, tmp_path / "file.pyth")
    with pytest.raises(UserError, match="SHORTCUT_NORM False"):
        MESTADCheckpointer(build("X3D_S_13x6", *CASES["X3D"][2])).load(str(tmp_path / "file.pyth"))
