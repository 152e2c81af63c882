"""What the paper's backbones promise beside their features: key frames, strides, norms, clear errors."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_backbone
from tiny import ROOT

from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.backbone.norm import FrozenBatchNorm3d

SMALL = [
    "MODEL.DEVICE",
    "cpu",
    "MODEL.VIDEO_RESNET.WIDTH",
    "8",
    "MODEL.VIDEO_RESNET.STAGE_BLOCKS",
    "[1,1,2,1]",
]


def backbone(name: str = "SlowFast_R50_8x8", *opts: object) -> torch.nn.Module:
    """A small backbone of one of the paper's configs."""
    torch.manual_seed(0)
    return build_backbone(
        setup_cfg(ROOT / "configs" / "AVA-v2.2" / f"{name}.yaml", [*SMALL, *map(str, opts)])
    )


def test_shapes_and_strides_are_honest() -> None:
    model = backbone()
    features = model(torch.zeros(2, 3, 32, 64, 96))
    for name, shape in model.output_shape().items():
        slow, fast = features[name]
        assert slow.shape[1] + fast.shape[1] == shape.channels
        assert slow.shape[2:] == (8, 64 // shape.stride, 96 // shape.stride)
        assert fast.shape[2:] == (32, 64 // shape.stride, 96 // shape.stride)
    assert [shape.stride for shape in model.output_shape().values()] == [4, 8, 16, 16]


def test_res5_can_have_the_classifiers_stride() -> None:
    model = backbone(
        "SlowOnly_R50_4x16", "MODEL.VIDEO_RESNET.RES5_STRIDE", 2, "MODEL.VIDEO_RESNET.RES5_DILATION", 1
    )
    assert model.output_shape()["res5"].stride == 32
    assert model(torch.zeros(1, 3, 4, 64, 64))["res5"][0].shape[-2:] == (2, 2)


def test_the_key_frame_is_index_half_of_both_pathways() -> None:
    taken = {}
    model = backbone()
    model.slow.stem.register_forward_pre_hook(lambda _, x: taken.update(slow=x[0]))
    model.fast.stem.register_forward_pre_hook(lambda _, x: taken.update(fast=x[0]))
    clip = torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 3, 32, 32, 32)
    model(clip)
    for pathway in taken.values():
        assert float(pathway[0, 0, pathway.shape[2] // 2, 0, 0]) == 16.0


@pytest.mark.parametrize("frames", [12, 20, 30])
def test_clips_that_miss_the_key_frame_are_refused(frames: int) -> None:
    with pytest.raises(UserError, match="use a multiple of 8"):
        backbone()(torch.zeros(1, 3, frames, 32, 32))


def test_dilation_is_in_the_slow_pathway_only() -> None:
    model = backbone()
    dilations = [
        {
            m.dilation[1]
            for m in path.res5.modules()
            if isinstance(m, torch.nn.Conv3d) and m.kernel_size[1] == 3
        }
        for path in (model.slow, model.fast)
    ]
    assert dilations == [{2}, {1}]


def test_strides_are_plain_ints() -> None:
    for module in backbone().modules():
        if isinstance(module, torch.nn.Conv3d):
            assert all(type(v) is int for v in (*module.stride, *module.padding, *module.dilation))


def test_frozen_norm_equals_bn_in_evaluation_and_does_not_learn() -> None:
    bn, frozen = torch.nn.BatchNorm3d(6), FrozenBatchNorm3d(6)
    with torch.no_grad():
        for tensor in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
            tensor.uniform_(0.5, 2)
    frozen.load_state_dict(bn.state_dict())
    x = torch.rand(2, 6, 3, 4, 4)
    torch.testing.assert_close(frozen.train()(x), bn.eval()(x))
    assert not list(frozen.parameters())
    model = backbone("SlowFast_R50_8x8", "MODEL.VIDEO_RESNET.NORM", "FrozenBN")
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in model.modules())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()(torch.rand(1, 3, 8, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_sync_norm_builds_and_unknown_norms_are_named() -> None:
    model = backbone("SlowFast_R50_8x8", "MODEL.VIDEO_RESNET.NORM", "SyncBN")
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules())
    with pytest.raises(UserError, match="NORM: 'LN' is unknown"):
        backbone("SlowFast_R50_8x8", "MODEL.VIDEO_RESNET.NORM", "LN")


def test_non_local_blocks_start_as_the_identity() -> None:
    with_blocks = [
        "MODEL.NONLOCAL.LOCATIONS",
        "[[],[],[1],[]]",
        "MODEL.VIDEO_RESNET.TEMPORAL_BLOCKS",
        "[-1,-1,1,-1]",
    ]
    model = backbone("SlowFast_R101-NL_8x8", *with_blocks).eval()
    plain = backbone(
        "SlowFast_R101-NL_8x8", *with_blocks[2:], "MODEL.NONLOCAL.LOCATIONS", "[[],[],[],[]]"
    ).eval()
    names = {
        name.replace(".block.", "."): value
        for name, value in model.state_dict().items()
        if "non_local" not in name
    }
    plain.load_state_dict(names)
    clip = torch.rand(1, 3, 8, 32, 32)
    for a, b in zip(model(clip)["res5"], plain(clip)["res5"], strict=True):
        torch.testing.assert_close(a, b)
    kernels = [block.block.branch2.conv_a.kernel_size[0] if hasattr(block, "block") else
               block.branch2.conv_a.kernel_size[0] for block in model.slow.res4.res_blocks]  # fmt: skip
    assert kernels == [3, 1]


def test_a_non_local_block_after_no_block_is_refused() -> None:
    with pytest.raises(UserError, match="res4 has 2 blocks, no block 5"):
        backbone("SlowFast_R101-NL_8x8", "MODEL.NONLOCAL.LOCATIONS", "[[],[],[5],[]]")
