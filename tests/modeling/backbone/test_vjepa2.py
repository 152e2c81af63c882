"""V-JEPA 2: transformers' features on its own squares, right positions on other grids, files, what is trained."""

from __future__ import annotations

import copy

import library
import pytest
import torch

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.errors import UserError

transformers = pytest.importorskip("transformers", reason="V-JEPA 2 needs the extra transformers")
NAME = "VJEPA2_L_16x4"
SMALL = ("MODEL.VIDEO_BACKBONE.WIDTH", 96, "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1,1,1,1]")


def theirs(side: int, frames: int = 8) -> torch.nn.Module:
    """The library's whole model for clips of one size, random everywhere."""
    config = transformers.VJEPA2Config(
        crop_size=side, frames_per_clip=frames, hidden_size=96, num_attention_heads=16, num_hidden_layers=4,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    torch.manual_seed(0)
    return library.shake(transformers.VJEPA2Model(config))


@pytest.mark.parametrize("side", [64, 96])
@pytest.mark.parametrize("file", ["model", "safetensors", "classifier"])
def test_the_librarys_weights_and_features(side: int, file: str, tmp_path) -> None:
    model = theirs(side)
    path = tmp_path / "model.safetensors"
    if file == "safetensors":
        model.save_pretrained(tmp_path)
    else:
        front = "vjepa2." if file == "classifier" else ""
        path = tmp_path / "model.bin"
        torch.save({front + key: tensor for key, tensor in model.state_dict().items()}, path)
    ours = library.backbone(NAME, *SMALL).eval()
    checkpointer = MESTADCheckpointer(library.Whole(ours))
    checkpointer.load(str(path), checkpointables=[])
    report = checkpointer.last_report
    assert not report.missing and all("predictor." in key for key in report.dropped)
    clips = torch.rand(1, 3, 8, side, side)
    with torch.no_grad():
        want = model(clips.transpose(1, 2), skip_predictor=True).last_hidden_state
        found = ours(clips)["res4"][0]
    torch.testing.assert_close(found, want.transpose(1, 2).reshape(found.shape), rtol=1e-4, atol=1e-5)


def test_metas_own_files(tmp_path) -> None:
    """Queries, keys and values in one matrix, the encoder beside its predictor and its average."""
    source, target = library.shake(library.backbone(NAME, *SMALL)), library.backbone(NAME, *SMALL)
    state, names = (
        {},
        {"embeddings.patch_embeddings.": "patch_embed.", "layernorm.": "norm.", "attention.": "attn."},
    )
    tensors = {
        key.removeprefix("vjepa2.encoder."): t for key, t in source.state_dict().items() if "vjepa2" in key
    }
    for key, tensor in tensors.items():
        if ".attention.key." in key or ".attention.value." in key:
            continue
        if ".attention.query." in key:
            tensor = torch.cat([tensors[key.replace("query", part)] for part in ("query", "key", "value")])
        key = key.replace("layer.", "blocks.").replace("query", "qkv")
        for ours, meta in names.items():
            key = key.replace(ours, meta)
        state["module.backbone." + key] = tensor
    other = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    torch.save(
        {"predictor": other, "target_encoder": other, "encoder": state, "epoch": 3}, tmp_path / "vitl.pt"
    )
    checkpointer = MESTADCheckpointer(library.Whole(target))
    checkpointer.load(str(tmp_path / "vitl.pt"), checkpointables=[])
    report = checkpointer.last_report
    assert not report.missing and not report.dropped
    for key, tensor in source.state_dict().items():
        if key.startswith("vjepa2."):
            assert torch.equal(target.state_dict()[key], tensor), key


def test_a_wide_clip_has_the_positions_of_its_own_grid() -> None:
    """Tokens of a wide clip, attended with masks of a larger square's positions, are the same."""
    ours = library.backbone(NAME, *SMALL).eval()
    attention = ours.vjepa2["encoder"].layer[0].attention
    tokens = torch.randn(1, 2 * 2 * 4, 96)
    ours.positions.grid = (2, 2, 4)
    with torch.no_grad():
        found = attention(tokens)[0]
        # The library's own rule on a square of 4x4 cells, of which two rows are there.
        del attention.get_position_ids
        attention.grid_size = 4
        mask = torch.arange(2 * 4 * 4).view(2, 4, 4)[:, :2].reshape(1, -1)
        want = attention(tokens, position_mask=mask)[0]
    torch.testing.assert_close(found, want)


def test_shapes_what_is_trained_and_copies() -> None:
    model = library.backbone(NAME, *SMALL).train()
    library.check_shapes(model, torch.rand(1, 3, 4, 32, 64), {"res3": 1, "res4": 2, "res5": 2})
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"pyramid"}
    assert not model.vjepa2["encoder"].training
    # A teacher's copy keeps its own positions.
    copied = copy.deepcopy(model)
    assert copied.vjepa2["encoder"].layer[3].attention.get_position_ids is copied.positions
    assert copied.positions is not model.positions
    tuned = library.backbone(NAME, *SMALL, "MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", 3).train()
    library.check_shapes(tuned, torch.rand(1, 3, 4, 32, 64), {"res3": 1, "res4": 2, "res5": 2})
    tuned(torch.rand(1, 3, 4, 32, 32))["res4"][0].square().sum().backward()
    with_gradient = {
        n.split(".")[3] for n, p in tuned.named_parameters() if p.grad is not None and ".layer." in n
    }
    assert with_gradient == {"3"}
    assert tuned.layer_of("vjepa2.encoder.layer.2.norm1.weight") == 3 and tuned.num_layers == 5
    assert tuned.layer_of("vjepa2.encoder.embeddings.patch_embeddings.proj.weight") == 0


def test_without_the_extra_one_line_says_so(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="needs the package transformers"):
        library.backbone(NAME)
