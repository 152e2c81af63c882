"""The key-frame pyramid against detectron2's own FPN, the paper's cost and hand-picked frames."""

from __future__ import annotations

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import FPN, Backbone
from fvcore.nn import FlopCountAnalysis

from mestad_d2.config import add_mestad_config
from mestad_d2.errors import UserError
from mestad_d2.modeling.keyframe_fpn import KeyframeFeatures, KeyframeFPN, build_keyframe_fpn

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 16}
CHANNELS = {"res2": 288, "res3": 576, "res4": 1152, "res5": 2304}


def _shape(channels: dict[str, int], strides: dict[str, int] = STRIDES) -> dict[str, ShapeSpec]:
    return {name: ShapeSpec(channels=channels[name], stride=strides[name]) for name in channels}


def _features(channels: dict[str, int], height: int, width: int, strides: dict[str, int] = STRIDES) -> dict:
    """Two pathways of 8:1 channels and 2 and 8 frames."""

    def maps(name: str) -> list[torch.Tensor]:
        size = (-(-height // strides[name]), -(-width // strides[name]))
        fast = channels[name] // 9
        return [torch.randn(1, channels[name] - fast, 2, *size), torch.randn(1, fast, 8, *size)]

    return {name: maps(name) for name in channels}


def _cfg(in_features: list[str], channels: int = 256):
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.MODEL.FPN.IN_FEATURES = in_features
    cfg.MODEL.FPN.OUT_CHANNELS = channels
    return cfg


def test_key_frame_is_half_of_each_pathway():
    times = torch.arange(8.0).view(1, 1, 8, 1, 1)
    features = {"res3": [times[:, :, :2].expand(1, 3, 2, 4, 5), times.expand(1, 2, 8, 4, 5)]}
    picked = KeyframeFeatures({"res3": ShapeSpec(channels=5, stride=8)}, ["res3"])(features)["res3"]
    assert picked.shape == (1, 5, 4, 5)
    assert picked[0, :, 0, 0].tolist() == [1, 1, 1, 4, 4]


class _Fixed(Backbone):
    def __init__(self, shape: dict[str, ShapeSpec]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return x

    def output_shape(self):
        return self.shape


def test_equals_detectron2_where_strides_double():
    torch.manual_seed(0)
    strides = {"res3": 8, "res4": 16, "res5": 32}
    channels = {"res3": 9, "res4": 18, "res5": 36}
    own = KeyframeFPN(_shape(channels, strides), list(channels), 8)
    features = _features(channels, 64, 96, strides)
    picked = own.bottom_up(features)
    reference = FPN(_Fixed(_shape(channels, strides)), list(channels), 8)
    reference.load_state_dict(own.state_dict())
    expected, got = reference(picked), own(features)
    assert list(got) == list(expected) == ["p3", "p4", "p5"]
    for name in expected:
        torch.testing.assert_close(got[name], expected[name])
    assert {k: v.stride for k, v in own.output_shape().items()} == {"p3": 8, "p4": 16, "p5": 32}


# Giga multiply-adds of FPN alone; whole-model figures of the paper less backbone and head.
@pytest.mark.parametrize(
    "in_features, strides, gflops, mparams",
    [
        (["res3", "res4"], {"p3": 8, "p4": 16, "p5": 32}, 1.02, 2.21),
        (["res2", "res3", "res4"], {"p2": 4, "p3": 8, "p4": 16, "p5": 32}, 3.74, 2.88),
        (["res3", "res4", "res5"], {"p3": 8, "p4": 16, "p5": 16}, 1.28, 2.80),
    ],
)
def test_levels_and_cost_of_table_8(in_features, strides, gflops, mparams):
    fpn = build_keyframe_fpn(_cfg(in_features), _shape(CHANNELS))
    features = _features({name: CHANNELS[name] for name in in_features}, 256, 256)
    with torch.no_grad():
        out = fpn(features)
    assert {name: 256 // level.shape[-1] for name, level in out.items()} == strides
    assert {name: shape.stride for name, shape in fpn.output_shape().items()} == strides
    assert all(shape.channels == 256 for shape in fpn.output_shape().values())
    flops = FlopCountAnalysis(fpn, (features,)).unsupported_ops_warnings(False).total() / 1e9
    assert flops == pytest.approx(gflops, abs=0.01)
    assert sum(p.numel() for p in fpn.parameters()) / 1e6 == pytest.approx(mparams, abs=0.01)


def test_p5_of_res5_is_its_lateral_and_reaches_p4_unresized():
    torch.manual_seed(0)
    channels = {"res4": 9, "res5": 18}
    fpn = build_keyframe_fpn(_cfg(list(channels), 4), _shape(channels))
    features = _features(channels, 64, 64)
    picked = fpn.bottom_up(features)
    lateral5 = fpn.fpn_lateral5(picked["res5"])
    out = fpn(features)
    torch.testing.assert_close(out["p5"], fpn.fpn_output5(lateral5))
    torch.testing.assert_close(out["p4"], fpn.fpn_output4(fpn.fpn_lateral4(picked["res4"]) + lateral5))


def test_odd_sizes_and_gradient():
    channels = {"res3": 9, "res4": 18}
    fpn = build_keyframe_fpn(_cfg(list(channels), 4), _shape(channels))
    out = fpn(_features(channels, 8 * 13, 8 * 7))
    assert [tuple(level.shape[-2:]) for level in out.values()] == [(13, 7), (7, 4), (4, 2)]
    sum(level.sum() for level in out.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in fpn.parameters())


@pytest.mark.parametrize(
    "in_features", [[], ["res4", "res3"], ["res2", "res4"], ["res2", "res3"], ["stem", "res4"]]
)
def test_unusable_stages_are_named_in_one_line(in_features):
    with pytest.raises(UserError, match="IN_FEATURES") as error:
        build_keyframe_fpn(_cfg(in_features), _shape(CHANNELS))
    assert "\n" not in str(error.value)
