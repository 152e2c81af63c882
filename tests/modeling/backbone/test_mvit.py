"""MViT, versions 1 and 2: honest strides, torchvision's features at any grid, its weights, where the key frame is."""

from __future__ import annotations

import library
import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torchvision.models.video import mvit_v1_b, mvit_v2_s

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


@pytest.fixture(scope="module")
def first_version(tmp_path_factory):
    """MViT-B of version 1 with the weights of torchvision's, loaded through a file."""
    theirs = library.shake(mvit_v1_b())
    ours = library.backbone("MViTv1_B_16x4").eval()
    report = library.load(ours, theirs.state_dict(), tmp_path_factory.mktemp("mvit") / "mvit.pth")
    assert not report.missing and set(report.dropped) == {"head.1.weight", "head.1.bias"}
    return ours, theirs


def test_version_1_at_its_own_size(first_version) -> None:
    compare(*first_version, 16, 224, 224)


def test_version_1_has_interpolated_positions_at_other_sizes(first_version) -> None:
    """torchvision's network with tables of that size, interpolated as images are."""
    ours, theirs = first_version
    encoding = theirs.pos_encoding
    own = encoding.spatial_pos.data, encoding.temporal_pos.data
    space = own[0].T.view(1, 96, 56, 56)
    space = nn.functional.interpolate(space, size=(16, 24), mode="bicubic", align_corners=False)
    encoding.spatial_pos.data = space.flatten(2)[0].T
    encoding.temporal_pos.data = nn.functional.interpolate(own[1].T[None], size=4, mode="linear")[0].T
    try:
        compare(ours, theirs, 8, 64, 96)
    finally:
        encoding.spatial_pos.data, encoding.temporal_pos.data = own


def test_version_1_doubles_channels_in_the_last_block_of_a_stage() -> None:
    model = library.backbone("MViTv1_B_16x4", *library.SMALL)
    clips = torch.rand(2, 3, 8, 64, 96)
    library.check_shapes(model, clips, dict.fromkeys(ENDS, 4))
    assert [shape.channels for shape in model.output_shape().values()] == [48, 96, 192, 192]
    library.check_gradients(model, clips)


def test_frozen_blocks_stay_as_they_are() -> None:
    model = library.backbone(NAME, *library.SMALL, "MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", 2).train()
    trained = {
        name.split(".")[2] for name, p in model.named_parameters() if p.requires_grad and "blocks" in name
    }
    assert trained == {"2", "3"} and not model.mvit.conv_proj.weight.requires_grad
    assert not model.mvit.blocks[1].training and model.mvit.blocks[2].training
    assert model.layer_of("mvit.blocks.2.norm1.weight") == 3 and model.layer_of("mvit.norm.weight") == 5
    with pytest.raises(UserError, match="CHECKPOINTING: build_mvit_backbone does not have it"):
        library.backbone(NAME, "MODEL.VIDEO_BACKBONE.CHECKPOINTING", True)


def test_unknown_variant() -> None:
    with pytest.raises(
        UserError, match="build_mvit_backbone knows no 'v3_b'; use v1_b or v1_b_32 or v1_b24_32 or v2_s"
    ):
        library.backbone(NAME, "MODEL.VIDEO_BACKBONE.VARIANT", "v3_b")


@pytest.mark.slow
def test_it_costs_what_its_paper_says() -> None:
    counter = FlopCountAnalysis(library.backbone(NAME).eval(), torch.zeros(1, 3, 16, 224, 224))
    assert counter.unsupported_ops_warnings(False).total() / 1e9 == pytest.approx(64.2, rel=0.01)
