"""What a training step does to norms that are trainable, frozen or synchronised, and how the modes swap."""

from __future__ import annotations

import library
import pytest
import torch
from torch import Tensor, nn

from mestad_d2.modeling.backbone.norm import FrozenBatchNorm3d

SMALL = ("MODEL.VIDEO_RESNET.WIDTH", 4, "MODEL.VIDEO_RESNET.STAGE_BLOCKS", "[1,1,2,1]",
         "MODEL.VIDEO_RESNET.TEMPORAL_BLOCKS", "[-1,-1,1,-1]", "MODEL.NONLOCAL.LOCATIONS", "[[],[],[1],[]]")  # fmt: skip
# Norms of stem, blocks, laterals and of the non-local block; those within squeeze-and-excitation.
MODELS = {"SlowFast_R101-NL_8x8": SMALL, "X3D_S_13x6": library.SMALL}
CLIPS = torch.rand(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(3))
STATISTICS = ("running_mean", "running_var")


def build(name: str, norm: str) -> nn.Module:
    """A small backbone with one kind of norm."""
    return library.backbone(name, *MODELS[name], "MODEL.VIDEO_RESNET.NORM", norm)


def norms(model: nn.Module) -> set[str]:
    """Keys of the norms' tensors."""
    kinds = (nn.BatchNorm3d, nn.SyncBatchNorm, FrozenBatchNorm3d)
    parts = [(name, part) for name, part in model.named_modules() if isinstance(part, kinds)]
    assert len(parts) > 10
    return {f"{name}.{key}" for name, part in parts for key in part.state_dict() if "num_" not in key}


def step(model: nn.Module) -> tuple[dict[str, Tensor], set[str]]:
    """All tensors before an SGD step, and the names of those that it changed."""
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01)
    sum((x**2).mean() for paths in model(CLIPS).values() for x in paths).backward()
    optimizer.step()
    return before, {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("name", MODELS)
def test_trainable_norms_learn_and_take_the_statistics_of_the_batch(name: str) -> None:
    # Blocks that start as the identity would pass no gradient on.
    model = library.shake(build(name, "BN"))
    first = next(key for key, part in model.named_modules() if isinstance(part, nn.BatchNorm3d))
    seen = []
    model.get_submodule(first).register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
    before, changed = step(model)
    assert norms(model) <= changed
    for key, batch in zip(STATISTICS, (seen[0].mean((0, 2, 3, 4)), seen[0].var((0, 2, 3, 4))), strict=True):
        want = 0.9 * before[f"{first}.{key}"] + 0.1 * batch
        torch.testing.assert_close(model.state_dict()[f"{first}.{key}"], want)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_leaves_frozen_norms_alone_and_moves_the_rest(name: str) -> None:
    model = build(name, "FrozenBN")
    # As after loading: statistics that are none of this batch.
    library.shake(model)
    _, changed = step(model)
    assert not changed & norms(model)
    assert changed == {key for key, _ in model.named_parameters()}
    assert any("conv" in key for key in changed)


@pytest.mark.parametrize("name", MODELS)
def test_synchronised_norms_are_those_that_torch_converts_to(name: str) -> None:
    plain, sync = build(name, "BN"), build(name, "SyncBN")
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(plain)
    assert [(key, type(part)) for key, part in sync.named_modules()] == [
        (key, type(part)) for key, part in converted.named_modules()
    ]
    assert not any(isinstance(part, nn.BatchNorm3d) for part in sync.modules())


@pytest.mark.parametrize("name", MODELS)
def test_alone_synchronised_norms_learn_as_plain_ones(name: str) -> None:
    plain, sync = build(name, "BN"), build(name, "SyncBN")
    sync.load_state_dict(plain.state_dict())
    step(plain)
    step(sync)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(sync.state_dict()[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["FrozenBN", "SyncBN"])
def test_weights_trained_in_one_mode_serve_another(norm: str, tmp_path) -> None:
    trained = library.shake(build("SlowFast_R101-NL_8x8", "BN"))
    other = build("SlowFast_R101-NL_8x8", norm).eval()
    report = library.load(other, library.Whole(trained).state_dict(), tmp_path / "bn.pth", "model")
    assert not report.missing and not report.dropped
    with torch.no_grad():
        for found, want in zip(other(CLIPS)["res5"], trained(CLIPS)["res5"], strict=True):
            torch.testing.assert_close(found, want)
