"""MViTv2: honest strides, torchvision's features at any grid, its weights, where the key frame is."""

from __future__ import annotations

import library
import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torchvision.models.video import mvit_v2_s

from mestad_d2.errors import UserError

NAME = "MViTv2_S_16x4"
# Torchvision's last block of each stage.
ENDS = {"res2": 0, "res3": 2, "res4": 13, "res5": 15}


def compare(ours: nn.Module, theirs: nn.Module, frames: int, height: int, width: int) -> None:
    theirs.pos_encoding.temporal_size = frames // 2
    theirs.pos_encoding.spatial_size = (height // 4, width // 4)
    clips = torch.rand(1, 3, frames, height, width)
    layers = {name: theirs.blocks[i] for name, i in ENDS.items()} | {"norm": theirs.norm}
    want = library.outputs(theirs, layers, clips)
    with torch.no_grad():
        found = ours(clips)
    for k, (name, (x,)) in enumerate(found.items()):
        tokens = want["norm"]
        if name != "res5":
            tokens, thw = want[name]
            assert tuple(thw) == (frames // 2, height // (4 * 2**k), width // (4 * 2**k)) == x.shape[2:]
            tokens = nn.functional.layer_norm(tokens, tokens.shape[-1:])
        torch.testing.assert_close(x.flatten(2).transpose(1, 2), tokens[:, 1:], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Ours with the weights of torchvision's, loaded through a file."""
    theirs = library.shake(mvit_v2_s())
    ours = library.backbone(NAME).eval()
    path = tmp_path_factory.mktemp("mvit") / "mvit.pth"
    return ours, theirs, library.load(ours, theirs.state_dict(), path)


def test_shapes_and_gradients() -> None:
    model = library.backbone(NAME, *library.SMALL)
    clips = torch.rand(2, 3, 8, 64, 96)
    library.check_shapes(model, clips, dict.fromkeys(ENDS, 4))
    assert [shape.stride for shape in model.output_shape().values()] == [4, 8, 16, 32]
    library.check_gradients(model, clips)


def test_torchvisions_weights(pair) -> None:
    ours, theirs, report = pair
    assert not report.missing and set(report.dropped) == {"head.1.weight", "head.1.bias"}
    assert len(report.loaded) == len(ours.state_dict()) == len(theirs.state_dict()) - 2


@pytest.mark.parametrize("size", [(4, 64, 64), (8, 96, 64)])
def test_torchvisions_features(pair, size) -> None:
    compare(*pair[:2], *size)


@pytest.mark.slow
def test_torchvisions_features_at_the_size_of_its_tables(pair) -> None:
    compare(*pair[:2], 16, 224, 224)


@pytest.mark.parametrize("frames", [4, 8, 12, 16])
def test_tubelet_of_index_half_is_centred_on_the_key_frame(frames: int) -> None:
    model = library.backbone(NAME, *library.SMALL)
    clips = torch.rand(1, 3, frames, 32, 32, requires_grad=True)
    grid = model.mvit.conv_proj(clips)
    grid[:, :, grid.shape[2] // 2].sum().backward()
    seen = clips.grad.abs().sum(dim=(0, 1, 3, 4)).nonzero().flatten().tolist()
    key = frames // 2
    assert seen == [key - 1, key, key + 1]


@pytest.mark.parametrize(
    ("size", "match"),
    [((6, 64, 64), "NUM_FRAMES 6: .*multiple of 4"), ((8, 64, 80), "64x80 pixels: .*multiples of 32")],
)
def test_other_sizes_are_refused(size, match: str) -> None:
    with pytest.raises(UserError, match=match):
        library.backbone(NAME, *library.SMALL)(torch.zeros(1, 3, *size))


def test_unknown_variant() -> None:
    with pytest.raises(UserError, match="build_mvit_backbone knows no 'v3_b'; use v2_s"):
        library.backbone(NAME, "MODEL.VIDEO_BACKBONE.VARIANT", "v3_b")


@pytest.mark.slow
def test_it_costs_what_its_paper_says() -> None:
    counter = FlopCountAnalysis(library.backbone(NAME).eval(), torch.zeros(1, 3, 16, 224, 224))
    assert counter.unsupported_ops_warnings(False).total() / 1e9 == pytest.approx(64.2, rel=0.01)
