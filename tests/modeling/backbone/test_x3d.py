"""X3D: honest strides, pytorchvideo's features, its weights."""

from __future__ import annotations

import library
import pytest
import torch
from pytorchvideo.models.x3d import create_x3d
from torch import nn

from mestad_d2.errors import UserError

STRIDED = ("MODEL.VIDEO_RESNET.RES5_STRIDE", 2, "MODEL.VIDEO_RESNET.RES5_DILATION", 1)
NAMES = ("res2", "res3", "res4", "res5")


@pytest.mark.parametrize(("name", "frames"), [("X3D_S_13x6", 13), ("X3D_M_16x5", 16)])
def test_shapes_and_gradients(name: str, frames: int) -> None:
    model = library.backbone(name, *library.SMALL)
    clips = torch.rand(2, 3, frames, 64, 96)
    library.check_shapes(model, clips, dict.fromkeys(NAMES, frames))
    assert [shape.stride for shape in model.output_shape().values()] == [4, 8, 16, 16]
    library.check_gradients(model, clips)


@pytest.mark.parametrize(("variant", "depth"), [("xs", 2.2), ("s", 2.2), ("m", 2.2), ("l", 5.0)])
def test_pytorchvideos_weights_and_features(tmp_path, variant: str, depth: float) -> None:
    theirs = library.shake(create_x3d(input_clip_length=4, input_crop_size=64, depth_factor=depth))
    ours = library.backbone("X3D_S_13x6", *STRIDED, "MODEL.VIDEO_BACKBONE.VARIANT", variant).eval()
    report = library.load(ours, theirs.state_dict(), tmp_path / "x3d.pyth", "model_state")
    assert not report.missing and all(key.startswith("blocks.5.") for key in report.dropped)
    assert len(report.loaded) == sum("num_batches" not in key for key in ours.state_dict())
    clips = torch.rand(1, 3, 4, 64, 64)
    want = library.outputs(theirs, {f"res{k + 1}": theirs.blocks[k] for k in range(1, 5)}, clips)
    with torch.no_grad():
        found = ours(clips)
    for name in NAMES:
        torch.testing.assert_close(found[name][0], want[name], rtol=1e-5, atol=1e-5)


def test_dilated_res5_computes_what_the_strided_one_does_where_that_looks() -> None:
    """Squeeze-and-excitation, whose means are over all cells, is left out of the comparison."""
    state, found = None, []
    for opts in (STRIDED, ()):
        model = library.backbone("X3D_S_13x6", *opts)
        for stage in list(model.x3d.blocks)[1:]:
            for block in stage.res_blocks:
                block.branch2.norm_b[1] = nn.Identity()
        state = state or library.shake(model).state_dict()
        model.load_state_dict(state)
        with torch.no_grad():
            found.append(model.eval()(torch.linspace(0, 1, 3 * 4 * 96 * 96).view(1, 3, 4, 96, 96))["res5"][0])
    strided, dilated = found
    assert dilated.shape[-1] == 2 * strided.shape[-1]
    torch.testing.assert_close(dilated[..., ::2, ::2], strided, rtol=1e-4, atol=1e-5)


def test_key_frame_stays_half() -> None:
    """The response to a change of one frame is symmetric about that frame's index, and largest there."""
    model = library.shake(library.backbone("X3D_S_13x6", *library.SMALL))
    clips = torch.zeros(1, 3, 13, 64, 64, requires_grad=True)
    model(clips)["res3"][0][:, :, 6].square().sum().backward()
    seen = clips.grad.abs().sum(dim=(0, 1, 3, 4)) > 0
    assert seen[6] and torch.equal(seen, seen.flip(0))


def test_norms_and_errors() -> None:
    frozen = library.backbone("X3D_S_13x6", *library.SMALL, "MODEL.VIDEO_RESNET.NORM", "FrozenBN")
    assert not any(isinstance(m, nn.BatchNorm3d) for m in frozen.modules())
    with pytest.raises(UserError, match="knows no 'xl'; use xs or s or m or l"):
        library.backbone("X3D_S_13x6", "MODEL.VIDEO_BACKBONE.VARIANT", "xl")
    with pytest.raises(UserError, match="res2 has 3 blocks at most"):
        library.backbone("X3D_S_13x6", "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[4,5,11,7]")
    with pytest.raises(UserError, match="four stages"):
        library.backbone("X3D_S_13x6", "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[4,5]")
