"""Convolutions over time, trained as 2-D ones, are the 3-D ones: values, gradients, keys and first weights."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_model
from tiny import tiny_cfg
from torch import nn
from torch.nn import functional as F

from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.pathway import TemporalConv3d, ease_temporal_convolutions


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("steps", "groups", "bias"), [(3, 1, False), (5, 2, True), (7, 1, True)])
def test_values_and_gradients_are_those_of_the_3d_one(
    memory_format: torch.memory_format, steps: int, groups: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv3d(8, 6, (steps, 1, 1), padding=(steps // 2, 0, 0), groups=groups, bias=bias)
    holder = nn.Sequential(plain)
    ease_temporal_convolutions(holder)
    eased = holder[0]
    assert type(eased) is TemporalConv3d and eased.weight is plain.weight
    x = torch.randn(2, 8, 6, 4, 5).contiguous(memory_format=memory_format)
    results = []
    for conv in (plain, eased):
        given = x.clone().requires_grad_()
        y = conv(given)
        y.square().sum().backward()
        results.append((y.detach(), given.grad, conv.weight.grad.clone()))
        conv.weight.grad = None
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert eased(x.requires_grad_()).is_contiguous(memory_format=memory_format)
    with torch.no_grad():
        assert torch.equal(eased(x), plain(x))


def test_only_convolutions_over_time_alone_are_changed() -> None:
    others = [
        nn.Conv3d(4, 4, (3, 3, 3), padding=1),
        nn.Conv3d(4, 4, 1),
        nn.Conv3d(4, 4, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
        nn.Conv3d(4, 4, (3, 1, 1)),
        nn.Conv3d(4, 4, (2, 1, 1), padding=(1, 0, 0)),
    ]
    holder = nn.Sequential(*others)
    ease_temporal_convolutions(holder)
    assert [type(layer) for layer in holder] == [nn.Conv3d] * len(others)


def test_a_detector_keeps_its_keys_and_its_first_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    eased = build_model(tiny_cfg())
    assert sum(isinstance(layer, TemporalConv3d) for layer in eased.modules()) == 4
    monkeypatch.setattr("mestad_d2.modeling.backbone.pathway.ease_temporal_convolutions", lambda *_: None)
    torch.manual_seed(0)
    plain = build_model(tiny_cfg())
    assert list(eased.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(eased.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": (3, 1, 1), "padding": (1, 0, 0)},
        {"kernel_size": (7, 1, 1), "padding": (3, 0, 0), "stride": (4, 1, 1)},
        {"kernel_size": (5, 7, 7), "padding": (2, 3, 3), "stride": (1, 2, 2)},
        {"kernel_size": 3, "padding": 1, "groups": 4},
    ],
)
def test_repeated_ends_are_frames_that_the_clip_repeats(
    arguments: dict, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(4, 8, bias=False, **arguments)
    holder = nn.Sequential(conv)
    ease_temporal_convolutions(holder, "repeat")
    x = torch.randn(2, 4, 8, 9, 10).contiguous(memory_format=memory_format).requires_grad_()
    time, *space = conv.padding
    longer = F.pad(x, (0, 0, 0, 0, time, time), mode="replicate")
    wanted = F.conv3d(longer, conv.weight, None, conv.stride, (0, *space), 1, conv.groups)
    found = holder(x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    grads = [torch.autograd.grad(y.square().sum(), (x, conv.weight)) for y in (wanted, found)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(b, a, atol=1e-3, rtol=1e-4)
    assert found.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("name", ["build_slow_backbone", "build_slowfast_backbone", "build_x3d_backbone"])
def test_with_repeated_ends_a_still_clip_has_the_same_features_at_every_step(name: str) -> None:
    """Zeros beyond the ends would make the first and last steps differ; keys are the same either way."""
    options = [
        "MODEL.BACKBONE.NAME", name, "MODEL.VIDEO_BACKBONE.VARIANT", "xs", "MODEL.VIDEO_BACKBONE.WIDTH", 8,
        "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", [1, 1, 1, 1],
    ]  # fmt: skip
    models = {}
    for padding in ("zeros", "repeat"):
        torch.manual_seed(0)
        cfg = tiny_cfg(*options, "MODEL.VIDEO_RESNET.TEMPORAL_PADDING", padding)
        models[padding] = build_model(cfg).backbone.eval()
    assert list(models["zeros"].state_dict()) == list(models["repeat"].state_dict())
    still = torch.randn(1, 3, 1, 48, 48).expand(-1, -1, 8, -1, -1)
    with torch.no_grad():
        features = {padding: model(still) for padding, model in models.items()}

    def spread(padding: str) -> float:
        steps = [x - x[:, :, :1] for pathways in features[padding].values() for x in pathways]
        return max(float(x.abs().max()) for x in steps)

    assert spread("repeat") < 1e-4 < 1e-3 < spread("zeros")


@pytest.mark.parametrize("name", ["build_slow_backbone", "build_x3d_backbone"])
def test_an_unknown_padding_is_one_line(name: str) -> None:
    options = ["MODEL.BACKBONE.NAME", name, "MODEL.VIDEO_BACKBONE.VARIANT", "xs"]
    with pytest.raises(UserError, match="TEMPORAL_PADDING: 'mirror' is unknown; use zeros or repeat"):
        build_model(tiny_cfg(*options, "MODEL.VIDEO_RESNET.TEMPORAL_PADDING", "mirror"))
