"""Hiera: its attention by hand, honest strides, positions that fit other sizes, its authors' code and files."""

from __future__ import annotations

import library
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mestad_d2.engine.optim import build_optimizer
from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.hiera import Attention, resize_windowed

NAME = "Hiera_B_16x4"
SMALL = ("MODEL.VIDEO_BACKBONE.WIDTH", 24, "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1,2,2,1]")
STAGES = ("res2", "res3", "res4", "res5")


@pytest.mark.parametrize(("window", "pool"), [(4, False), (4, True), (0, False), (0, True)])
def test_attention_by_hand(window: int, pool: bool) -> None:
    """Query by query: the tokens of its window (or all), and the maximum of four queries where it pools."""
    torch.manual_seed(0)
    layer = Attention(6, 12, 2, window, pool)
    x = torch.randn(1, 2, 8, 4, 6)
    with torch.no_grad():
        found = layer(x)[0]
        q, k, v = layer.qkv(x)[0].view(2, 8, 4, 3, 2, 6).unbind(3)
        step = 2 if pool else 1
        assert found.shape == (2, 8 // step, 4 // step, 12)
        for t, row, column, head in ((0, 0, 0, 0), (1, 3, 1, 1), (1, 7 // step, 3 // step, 0)):
            own = (slice(row * step, row * step + step), slice(column * step, column * step + step))
            query = q[(t, *own, head)].reshape(-1, 6).max(dim=0).values
            if window:
                top, left = row * step // window * window, column * step // window * window
                place = (t, slice(top, top + window), slice(left, left + window), head)
            else:
                place = (slice(None), slice(None), slice(None), head)
            keys, values = k[place].reshape(-1, 6), v[place].reshape(-1, 6)
            attended = (keys @ query / 6**0.5).softmax(0) @ values
            # That head's share of what the projection adds up.
            heads = torch.zeros(12)
            heads[head * 6 : head * 6 + 6] = attended
            rest = torch.zeros(12)
            other = 1 - head
            query = q[(t, *own, other)].reshape(-1, 6).max(dim=0).values
            place = (*place[:-1], other)
            rest[other * 6 : other * 6 + 6] = (k[place].reshape(-1, 6) @ query / 6**0.5).softmax(0) @ v[
                place
            ].reshape(-1, 6)
            torch.testing.assert_close(found[t, row, column], layer.proj(heads + rest), rtol=1e-4, atol=1e-5)


def test_shapes_and_gradients() -> None:
    model = library.backbone(NAME, *SMALL)
    clips = torch.rand(2, 3, 8, 64, 96)
    library.check_shapes(model, clips, dict.fromkeys(STAGES, 4))
    assert [shape.stride for shape in model.output_shape().values()] == [4, 8, 16, 32]
    library.check_gradients(model, clips)


def test_windows_end_with_the_second_stage_and_last_tokens_see_all() -> None:
    """A change in one corner: res2 moves only in its window of 32 pixels (and the patches beside), res5 everywhere."""
    model = library.shake(library.backbone(NAME, *SMALL))
    clips = torch.rand(1, 3, 4, 64, 96)
    other = clips.clone()
    other[..., :8, :8] += 1
    with torch.no_grad():
        moved = {
            name: (a[0] - b[0]).abs().amax(dim=(0, 1, 2)) > 0
            for (name, a), b in zip(model(clips).items(), model(other).values(), strict=True)
        }
    assert moved["res2"][:8, :8].all() and not moved["res2"][8:].any() and not moved["res2"][:, 8:].any()
    assert moved["res3"][:4, :4].all() and not moved["res3"][4:].any()
    assert moved["res5"].all()


def test_positions_of_another_size_keep_the_pattern_of_the_windows() -> None:
    """A pattern that repeats every 8 tokens still does; a slope over the picture is stretched."""
    pattern = torch.randn(8, 8, 3)
    pattern -= pattern.mean(dim=(0, 1))
    slope = (torch.arange(56.0) + 0.5) / 56 - 0.5
    table = pattern.repeat(7, 7, 1) + slope[:, None, None] * 4
    found = resize_windowed(table.flatten(0, 1), 56, (32, 96)).view(32, 96, 3)
    want = pattern.repeat(4, 12, 1) + (((torch.arange(32.0) + 0.5) / 32 - 0.5) * 4)[:, None, None]
    # At the borders a slope ends.
    torch.testing.assert_close(found[4:-4, 4:-4], want[4:-4, 4:-4], rtol=0, atol=0.05)
    assert torch.equal(resize_windowed(table.flatten(0, 1), 56, (56, 56)), table.flatten(0, 1))


def test_other_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="multiples of 32"):
        library.backbone(NAME, *SMALL)(torch.zeros(1, 3, 8, 64, 48))


def mae(state: dict) -> dict:
    """A pre-trained file: a norm of the encoder before its decoder, none of the classifier."""
    rest = {key: tensor for key, tensor in state.items() if not key.startswith("norm.")}
    rest |= {f"encoder_norm.{leaf}": torch.full((192,), 7.0) for leaf in ("weight", "bias")}
    decoder = {
        f"decoder_blocks.{i}.{leaf}": torch.ones(3) for i in range(8) for leaf in ("norm1.weight", "x")
    }
    return {**rest, **decoder, "decoder_pos_embed": torch.ones(1, 4, 4), "mask_token": torch.ones(1, 1, 4)}


@pytest.mark.parametrize("pretrained", [False, True])
def test_its_authors_files(pretrained: bool, tmp_path) -> None:
    source, target = library.shake(library.backbone(NAME, *SMALL)), library.backbone(NAME, *SMALL)
    state = {key.removeprefix("hiera."): tensor for key, tensor in source.state_dict().items()}
    head = {"head.projection.weight": torch.zeros(400, 192), "head.projection.bias": torch.zeros(400)}
    state = mae(state) if pretrained else {**state, **head}
    report = library.load(target, state, tmp_path / "hiera.pth", "model_state")
    assert not report.missing and not report.notes
    assert {key.removeprefix("backbone.hiera.") for key in report.filled} == (
        {"norm.weight", "norm.bias"} if pretrained else set()
    )
    for key, tensor in source.state_dict().items():
        if pretrained and key.startswith("hiera.norm."):
            tensor = torch.full_like(tensor, float(key.endswith("weight")))
        assert torch.equal(target.state_dict()[key], tensor), key


def test_other_pixels_are_told(tmp_path) -> None:
    source = library.Whole(library.backbone(NAME, *SMALL))
    model = library.Whole(library.backbone(NAME, *SMALL))
    model.pixel_mean = torch.tensor([123.675, 116.28, 103.53])
    model.pixel_std = torch.tensor([58.395, 57.12, 57.375])
    state = {k.removeprefix("backbone.hiera."): t for k, t in source.state_dict().items() if "hiera" in k}
    torch.save({"model_state": state}, tmp_path / "hiera.pth")
    checkpointer = library.MESTADCheckpointer(model)
    checkpointer.load(str(tmp_path / "hiera.pth"), checkpointables=[])
    (note,) = checkpointer.last_report.notes
    assert "PIXEL_MEAN [114.75, 114.75, 114.75] (here [123.675, 116.28, 103.53])" in note


@pytest.mark.slow
def test_its_authors_features(tmp_path) -> None:
    hiera = pytest.importorskip("hiera", reason="pip install hiera-transformer timm, to compare with it")
    theirs = library.shake(hiera.hiera_base_16x224())
    ours = library.backbone(NAME).eval()
    library.load(ours, theirs.state_dict(), tmp_path / "hiera.pth", "model_state")
    clips = torch.rand(1, 3, 16, 224, 224)
    with torch.no_grad():
        _, want = theirs(clips, return_intermediates=True)
        found = ours(clips)
    for name, tokens in zip(STAGES, want, strict=True):
        normed = (
            theirs.norm(tokens)
            if name == "res5"
            else torch.nn.functional.layer_norm(tokens, tokens.shape[-1:])
        )
        torch.testing.assert_close(found[name][0].permute(0, 2, 3, 4, 1), normed, rtol=1e-4, atol=1e-4)


def test_frozen_blocks_recomputing_and_learning_rates() -> None:
    opts = ("MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", 3, "MODEL.VIDEO_BACKBONE.DROP_PATH", 0.5)
    model = library.backbone(NAME, *SMALL, *opts).train()
    trained = {
        name.split(".")[2] for name, p in model.named_parameters() if p.requires_grad and ".blocks." in name
    }
    assert trained == {"3", "4", "5"} and not model.hiera.pos_embed_spatial.requires_grad
    assert not model.hiera.blocks[2].training and model.hiera.blocks[3].training
    clips, grads = torch.rand(1, 3, 4, 32, 32), []
    for recompute in (False, True):
        opts = ("MODEL.VIDEO_BACKBONE.CHECKPOINTING", recompute, "MODEL.VIDEO_BACKBONE.DROP_PATH", 0.0)
        model = library.backbone(NAME, *SMALL, *opts).train()
        sum(x.square().sum() for (x,) in model(clips).values()).backward()
        grads.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, recomputed)
    cfg = library.cfg_of(NAME, *SMALL)
    groups = {id(p): g["lr"] for g in build_optimizer(cfg, model).param_groups for p in g["params"]}
    base, decay = cfg.SOLVER.BASE_LR, cfg.SOLVER.LAYER_DECAY
    for parameter, depth in (
        (model.hiera.pos_embed_spatial, 0), (model.hiera.blocks[0].attn.qkv.weight, 1),
        (model.hiera.blocks[5].norm1.weight, 6), (model.hiera.norm.weight, 7),
    ):  # fmt: skip
        assert groups[id(parameter)] == pytest.approx(base * decay ** (7 - depth))


def test_it_costs_what_its_paper_says() -> None:
    """102 GFLOPs at 16x224 (arXiv 2306.00989); the parameters of its code less 0.3 million of the classifier."""
    with torch.device("meta"):
        model = library.backbone(NAME).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 16, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(102, rel=0.02)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(51.09 - 0.31, abs=0.02)
