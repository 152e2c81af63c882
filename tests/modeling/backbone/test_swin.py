"""Video-Swin: honest strides, torchvision's features, its weights, small grids, where the key frame is."""

from __future__ import annotations

import itertools

import library
import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torchvision.models.video import swin3d_b, swin3d_s, swin3d_t

from mestad_d2.errors import UserError

NAME = "VideoSwin_T_32x2"
STAGES = ("res2", "res3", "res4", "res5")


def test_shapes_and_gradients() -> None:
    model = library.backbone(NAME, *library.SMALL)
    clips = torch.rand(2, 3, 8, 64, 96)
    library.check_shapes(model, clips, dict.fromkeys(STAGES, 4))
    assert [shape.stride for shape in model.output_shape().values()] == [4, 8, 16, 32]
    library.check_gradients(model, clips)


def test_torchvisions_weights_and_features(tmp_path) -> None:
    theirs = library.shake(swin3d_t())
    ours = library.backbone(NAME).eval()
    report = library.load(ours, theirs.state_dict(), tmp_path / "swin.pth")
    assert not report.missing and set(report.dropped) == {"head.weight", "head.bias"}
    assert len(report.loaded) == len(ours.state_dict()) == len(theirs.state_dict()) - 2
    # No grid is smaller than the window of 7 cells, so that torchvision's index is right.
    clips = torch.rand(1, 3, 4, 224, 224)
    layers = {name: theirs.features[2 * k] for k, name in enumerate(STAGES)} | {"norm": theirs.norm}
    want = library.outputs(theirs, layers, clips)
    with torch.no_grad():
        found = ours(clips)
    for name in STAGES:
        x = want["norm"] if name == "res5" else want[name]
        x = x if name == "res5" else nn.functional.layer_norm(x, x.shape[-1:])
        torch.testing.assert_close(found[name][0].permute(0, 2, 3, 4, 1), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("variant", "builder"), [("t", swin3d_t), ("s", swin3d_s), ("b", swin3d_b)])
def test_every_variant_has_the_librarys_tensors(variant: str, builder) -> None:
    with torch.device("meta"):
        theirs = {key: value.shape for key, value in builder().state_dict().items() if "head" not in key}
        ours = library.backbone(NAME, "MODEL.VIDEO_BACKBONE.VARIANT", variant).state_dict()
    assert {key.removeprefix("swin."): value.shape for key, value in ours.items()} == theirs


def test_windows_cut_by_a_small_grid_keep_their_relative_positions() -> None:
    """Brute force over all pairs of a 2x3x4 window inside one of 8x7x7."""
    attention = library.backbone(NAME, *library.SMALL).swin.features[0][0].attn
    bias = attention.get_relative_position_bias([2, 3, 4])[0]
    cells = list(itertools.product(range(2), range(3), range(4)))
    for (i, a), (j, b) in itertools.product(enumerate(cells), repeat=2):
        t, h, w = (x - y + size - 1 for x, y, size in zip(a, b, (8, 7, 7), strict=True))
        row = attention.relative_position_bias_table[(t * 13 + h) * 13 + w]
        assert torch.equal(bias[:, i, j], row)


@pytest.mark.parametrize("frames", [4, 8, 32])
def test_tubelet_of_index_half_begins_with_the_key_frame(frames: int) -> None:
    model = library.backbone(NAME, *library.SMALL)
    clips = torch.rand(1, 3, frames, 32, 32, requires_grad=True)
    grid = model.swin.patch_embed.proj(clips)
    grid[:, :, grid.shape[2] // 2].sum().backward()
    seen = clips.grad.abs().sum(dim=(0, 1, 3, 4)).nonzero().flatten().tolist()
    assert seen == [frames // 2, frames // 2 + 1]


@pytest.mark.parametrize(
    ("size", "match"),
    [((10, 64, 64), "NUM_FRAMES 10: .*multiple of 4"), ((8, 72, 64), "72x64 pixels: .*multiples of 32")],
)
def test_other_sizes_are_refused(size, match: str) -> None:
    with pytest.raises(UserError, match=match):
        library.backbone(NAME, *library.SMALL)(torch.zeros(1, 3, *size))


@pytest.mark.slow
def test_it_costs_what_its_paper_says() -> None:
    counter = FlopCountAnalysis(library.backbone(NAME).eval(), torch.zeros(1, 3, 32, 224, 224))
    assert counter.unsupported_ops_warnings(False).total() / 1e9 == pytest.approx(88.0, rel=0.01)
