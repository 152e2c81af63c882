"""PySlowFast's X3D and MViTv2: its names, written out by replacement, lead every tensor to its place."""

from __future__ import annotations

import re

import pytest
import torch
from detectron2.modeling import build_backbone
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
        named[key] = tensor
    return {**named, "head.projection.weight": torch.zeros(400, 4)}


CASES = {
    "X3D": ("X3D_S_13x6", x3d_names, ("MODEL.VIDEO_BACKBONE.SHORTCUT_NORM", True)),
    "MViTv2": ("MViTv2_S_16x4", mvit_names, ()),
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
    assert not report.missing and set(report.dropped) == {"head.projection.weight"}
    for key, tensor in state.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(target.state_dict()[key], tensor), key


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
