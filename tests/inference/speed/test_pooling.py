"""Pools given to the library's kernel are the pools that they replace."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mestad_d2.inference.speed.pooling import NarrowPool, ease_pooling, library_max_pool

LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)


POOLS = {
    "sides": st.tuples(*[st.integers(3, 9)] * 3),
    "kernel": st.tuples(*[st.integers(1, 3)] * 3),
    "stride": st.tuples(*[st.integers(1, 3)] * 3),
    "channels": st.integers(1, 20),
    "layout": st.sampled_from(LAYOUTS),
    "dtype": st.sampled_from([torch.bfloat16, torch.float32]),
}


def features(sides: tuple, channels: int, layout: torch.memory_format, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, *sides, generator=generator).to(dtype).contiguous(memory_format=layout)


@settings(max_examples=60, deadline=None)
@given(**POOLS)
def test_equals_the_plain_pool(sides, kernel, stride, channels, layout, dtype) -> None:  # noqa: ANN001
    x = features(sides, channels, layout, dtype)
    padding = tuple(k // 2 for k in kernel)
    assert torch.equal(NarrowPool(kernel, stride, padding)(x), nn.MaxPool3d(kernel, stride, padding)(x))


# Each takes a fifth of a second.
@settings(max_examples=8, deadline=None)
@given(**POOLS)
def test_the_compiler_is_told_what_the_operator_does(sides, kernel, stride, channels, layout, dtype) -> None:  # noqa: ANN001
    x = features(sides, channels, layout, dtype)
    torch.library.opcheck(library_max_pool, (x, list(kernel), list(stride), [k // 2 for k in kernel]))


def test_only_plain_pools_are_replaced() -> None:
    net = nn.Sequential(
        nn.MaxPool3d(2), nn.MaxPool3d(2, ceil_mode=True), nn.MaxPool3d(2, dilation=2), nn.AvgPool3d(2)
    )
    before = copy.deepcopy(net)
    ease_pooling(net)
    assert [type(layer) is NarrowPool for layer in net] == [True, False, False, False]
    x = torch.randn(1, 3, 6, 6, 6)
    for new, old in zip(net, before, strict=True):
        assert torch.equal(new(x), old(x))


@pytest.mark.parametrize(("channels", "dtype", "by_library"), [(8, "bfloat16", True), (8, "float32", False)])
def test_a_compiled_net_calls_the_library_for_narrow_maps(
    channels: int, dtype: str, by_library: bool
) -> None:
    net = nn.Sequential(nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.ReLU())
    x = torch.randn(1, channels, 2, 8, 8).to(getattr(torch, dtype))
    x = x.contiguous(memory_format=torch.channels_last_3d)
    expected = net(x)
    ease_pooling(net)
    fast = torch.compile(net, dynamic=False)
    with torch.no_grad(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        assert torch.equal(fast(x), expected)
    called = any("mestad_d2::max_pool3d" in event.name for event in profile.events())
    assert called == by_library
