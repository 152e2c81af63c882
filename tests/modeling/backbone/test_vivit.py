"""ViViT: its pyramid, transformers' features and weights in the names of two versions, other clip sizes."""

from __future__ import annotations

import sys

import library
import pytest
import torch

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.formats.vivit import as_installed
from mestad_d2.errors import UserError

transformers = pytest.importorskip("transformers", reason="ViViT needs the extra transformers")
NAME = "ViViT_B_32x2"
VERSION_4 = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def as_version_4(state: dict) -> dict:
    """The names of transformers 4 and of published files, by plain replacement."""
    old = {}
    for key, value in state.items():
        if "layers." in key:
            for new, before in VERSION_4.items():
                key = key.replace(f".{new}.", f".{before}.")
            key = key.replace("layers.", "encoder.layer.")
        old[key] = value
    return old


def their_config(**keys: object):
    return transformers.VivitConfig(
        hidden_size=24, intermediate_size=96, num_hidden_layers=4, num_attention_heads=12, **keys
    )


@pytest.mark.parametrize(
    ("levels", "strides"),
    [
        ('["res3","res4"]', {"res3": 8, "res4": 16, "res5": 32}),
        ('["res2","res3","res4"]', {"res2": 4, "res3": 8, "res4": 16, "res5": 32}),
    ],
)
def test_shapes_and_gradients(levels: str, strides: dict) -> None:
    model = library.backbone(NAME, *library.SMALL, "MODEL.FPN.IN_FEATURES", levels)
    clips = torch.rand(2, 3, 8, 64, 96)
    library.check_shapes(model, clips, {name: 4 if stride > 8 else 1 for name, stride in strides.items()})
    assert {name: shape.stride for name, shape in model.output_shape().items()} == strides
    library.check_gradients(model, clips)


def test_the_file_that_the_library_writes_loads_whole(tmp_path) -> None:
    theirs = library.shake(transformers.VivitForVideoClassification(their_config()))
    theirs.save_pretrained(tmp_path)
    ours = library.backbone(NAME, *library.SMALL)
    checkpointer = MESTADCheckpointer(library.Whole(ours))
    checkpointer.load(str(tmp_path / "model.safetensors"), checkpointables=[])
    report = checkpointer.last_report
    assert not report.missing and set(report.dropped) == {"classifier.weight", "classifier.bias"}
    for found, want in zip(ours.vivit.parameters(), theirs.vivit.parameters(), strict=True):
        assert torch.equal(found, want)


@pytest.mark.parametrize("version", ["installed", "4"])
def test_the_librarys_weights_and_features(tmp_path, version: str) -> None:
    theirs = library.shake(transformers.VivitForVideoClassification(their_config()))
    state = theirs.state_dict() if version == "installed" else as_version_4(theirs.state_dict())
    ours = library.backbone(NAME, *library.SMALL).eval()
    report = library.load(ours, state, tmp_path / "vivit.bin")
    assert not report.missing and set(report.dropped) == {"classifier.weight", "classifier.bias"}
    own = [key for key in ours.state_dict() if key.startswith("vivit.")]
    assert len(report.loaded) == len(own) == len(state) - 2
    assert {"backbone.pyramid.res3.weight", "backbone.pyramid.res3.bias"} <= set(report.new)
    clips = torch.rand(1, 3, 32, 224, 224)
    want = library.outputs(theirs, {"norm": theirs.vivit.layernorm}, clips.transpose(1, 2))["norm"]
    with torch.no_grad():
        found = ours(clips)
    res4 = want[:, 1:].transpose(1, 2).reshape(1, 24, 16, 14, 14)
    torch.testing.assert_close(found["res4"][0], res4, rtol=1e-5, atol=1e-5)
    cells = res4.reshape(1, 24, 16, 7, 2, 7, 2).amax(dim=(4, 6))
    torch.testing.assert_close(found["res5"][0], cells, rtol=1e-5, atol=1e-5)
    # A transposed convolution of kernel and stride 2, cell by cell.
    layer, key_frame = ours.pyramid["res3"], res4[0, :, 8]
    res3 = torch.einsum("chw,cdyx->dhywx", key_frame, layer.weight).reshape(12, 28, 28)
    torch.testing.assert_close(
        found["res3"][0][0, :, 0], res3 + layer.bias[:, None, None], rtol=1e-5, atol=1e-5
    )


def test_a_bare_model_loads_too_and_its_pooler_is_dropped(tmp_path) -> None:
    theirs = transformers.VivitModel(their_config())
    ours = library.backbone(NAME, *library.SMALL)
    report = library.load(ours, theirs.state_dict(), tmp_path / "vivit.bin")
    assert not report.missing and set(report.dropped) == {"pooler.dense.weight", "pooler.dense.bias"}


def test_a_gap_in_the_file_is_still_an_error(tmp_path) -> None:
    state = transformers.VivitModel(their_config(), add_pooling_layer=False).state_dict()
    del state["layernorm.weight"]
    with pytest.raises(UserError, match="missing are backbone.vivit.layernorm.weight"):
        library.load(library.backbone(NAME, *library.SMALL), state, tmp_path / "vivit.bin")


def test_names_go_both_ways() -> None:
    new = {f"backbone.vivit.{key}": value for key, value in
           transformers.VivitModel(their_config(), add_pooling_layer=False).state_dict().items()}  # fmt: skip
    old = as_version_4(new)
    assert old.keys() != new.keys()
    assert as_installed(old, new).keys() == new.keys() and as_installed(new, old).keys() == old.keys()
    other = {"backbone.x3d.blocks.0.conv.weight": torch.zeros(1)}
    assert as_installed(old, other) is old


def test_config_is_the_published_model() -> None:
    with torch.device("meta"):
        model = transformers.VivitModel(transformers.VivitConfig(), add_pooling_layer=False)
        theirs = {key: value.shape for key, value in model.state_dict().items()}
        ours = library.backbone(NAME).vivit.state_dict()
    assert {key: value.shape for key, value in ours.items()} == theirs


def test_positions_of_other_grids() -> None:
    """A table that is linear in each coordinate stays so: exact away from the clamped borders."""
    model = library.backbone(NAME, *library.SMALL)
    embeddings = model.vivit.embeddings
    t, y, x = torch.meshgrid(*(torch.arange(float(n)) + 0.5 for n in (16, 14, 14)), indexing="ij")
    table = (t / 16 + 10 * y / 14 + 100 * x / 14).flatten()
    with torch.no_grad():
        embeddings.position_embeddings[0, 1:] = table[:, None]
    found = embeddings._positions((8, 16, 28))[0, 1:, 0].view(8, 16, 28)
    t, y, x = torch.meshgrid(*((torch.arange(float(n)) + 0.5) / n for n in (8, 16, 28)), indexing="ij")
    inner = (slice(1, -1), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(found[inner], (t + 10 * y + 100 * x)[inner], rtol=1e-4, atol=1e-3)
    assert embeddings._positions((16, 14, 14)) is embeddings.position_embeddings


@pytest.mark.parametrize("frames", [4, 8, 32])
def test_tubelet_of_index_half_begins_with_the_key_frame(frames: int) -> None:
    model = library.backbone(NAME, *library.SMALL)
    clips = torch.rand(1, 3, frames, 32, 32, requires_grad=True)
    grid = model.vivit.embeddings.patch_embeddings.projection(clips)
    grid[:, :, grid.shape[2] // 2].sum().backward()
    seen = clips.grad.abs().sum(dim=(0, 1, 3, 4)).nonzero().flatten().tolist()
    assert seen == [frames // 2, frames // 2 + 1]


@pytest.mark.parametrize(
    ("size", "match"),
    [((18, 64, 64), "NUM_FRAMES 18: .*multiple of 4"), ((8, 48, 64), "48x64 pixels: .*multiples of 32")],
)
def test_other_sizes_are_refused(size, match: str) -> None:
    with pytest.raises(UserError, match=match):
        library.backbone(NAME, *library.SMALL)(torch.zeros(1, 3, *size))


def test_without_the_extra_one_line_says_so(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="needs the package transformers; pip install") as caught:
        library.backbone(NAME)
    assert "\n" not in str(caught.value)
