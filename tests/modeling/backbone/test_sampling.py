"""Frames of the slow pathway, pooling over time and kernels that alternate: against formulas and pytorchvideo."""

from __future__ import annotations

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from pytorchvideo.models.hub import c2d_r50, i3d_r50
from tiny import tiny_cfg

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.segment import takes_segments


def backbone(cfg: CfgNode) -> torch.nn.Module:
    return BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)(cfg, ShapeSpec(channels=3)).eval()


def slowfast(sampling: str) -> torch.nn.Module:
    return backbone(
        tiny_cfg("MODEL.BACKBONE.NAME", "build_slowfast_backbone", "MODEL.SLOWFAST.SLOW_SAMPLING", sampling)
    )


def test_slow_frames() -> None:
    numbers = torch.arange(32.0).view(1, 1, 32, 1, 1)
    assert slowfast("stride").slow_frames(numbers).flatten().tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    # Those of PySlowFast's pack_pathway_output and of pytorchvideo's tutorials.
    assert slowfast("linspace").slow_frames(numbers).flatten().tolist() == [0, 4, 8, 13, 17, 22, 26, 31]


def test_frames_that_no_grid_has_take_no_one_pass() -> None:
    assert takes_segments(slowfast("stride")) and not takes_segments(slowfast("linspace"))
    assert not takes_segments(backbone(tiny_cfg("MODEL.VIDEO_RESNET.TEMPORAL_POOL", 2)))


def test_unknown_sampling_and_pooling_in_slowfast_are_one_line() -> None:
    with pytest.raises(UserError, match="use stride or linspace"):
        slowfast("random")
    with pytest.raises(UserError, match="TEMPORAL_POOL"):
        backbone(
            tiny_cfg("MODEL.BACKBONE.NAME", "build_slowfast_backbone", "MODEL.VIDEO_RESNET.TEMPORAL_POOL", 2)
        )


@pytest.mark.parametrize(
    ("build", "kernels"),
    [(c2d_r50, "[1, 1, 1, 1, 1]"), (i3d_r50, "[5, 3, [3, 1], [3, 1], [1, 3]]")],
    ids=["C2D", "I3D"],
)
def test_c2d_and_i3d_equal_pytorchvideos(build, kernels: str, tmp_path) -> None:
    torch.manual_seed(0)
    theirs = build(pretrained=False).eval()
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "hub.pyth")
    ours = backbone(
        tiny_cfg(
            "MODEL.VIDEO_RESNET.WIDTH", 64, "MODEL.VIDEO_RESNET.STAGE_BLOCKS", "[3, 4, 6, 3]",
            "MODEL.VIDEO_RESNET.TEMPORAL_KERNELS", kernels, "MODEL.VIDEO_RESNET.TEMPORAL_POOL", 2,
            "MODEL.VIDEO_RESNET.RES5_STRIDE", 2, "MODEL.VIDEO_RESNET.RES5_DILATION", 1,
        )
    )  # fmt: skip
    checkpointer = MESTADCheckpointer(ours)
    checkpointer.load(str(tmp_path / "hub.pyth"))
    assert not checkpointer.last_report.notes and not checkpointer.last_report.missing
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        x, have = clips, ours(clips)
        for block in theirs.blocks[:-1]:
            x = block(x)
    assert have["res5"][0].shape[2] == 4
    torch.testing.assert_close(have["res5"][0], x, rtol=1e-4, atol=1e-5)


def test_a_c2d_file_in_a_model_without_pooling_is_told(tmp_path) -> None:
    torch.save({"model_state": c2d_r50(pretrained=False).state_dict()}, tmp_path / "hub.pyth")
    checkpointer = MESTADCheckpointer(
        backbone(
            tiny_cfg(
                "MODEL.VIDEO_RESNET.WIDTH", 64, "MODEL.VIDEO_RESNET.STAGE_BLOCKS", "[3, 4, 6, 3]",
                "MODEL.VIDEO_RESNET.TEMPORAL_KERNELS", "[1, 1, 1, 1, 1]",
            )
        )
    )  # fmt: skip
    checkpointer.load(str(tmp_path / "hub.pyth"))
    assert "MODEL.VIDEO_RESNET.TEMPORAL_POOL 2 (here 1)" in checkpointer.last_report.notes[0]
