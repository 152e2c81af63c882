"""VideoMAE: features and files of transformers, other grids, frozen and recomputed blocks, learning rates."""

from __future__ import annotations

import re

import library
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.engine.optim import build_optimizer
from mestad_d2.errors import UserError
from mestad_d2.modeling.backbone.vit.positions import resize_positions, sinusoid_table

NAME = "VideoMAE_B_16x4"
SMALL = library.SMALL


def theirs(**keys: object) -> torch.nn.Module:
    """transformers' classifier, random everywhere, in eval mode."""
    transformers = pytest.importorskip("transformers", reason="compared with the extra transformers")
    config = transformers.VideoMAEConfig(
        hidden_size=24, intermediate_size=96, num_hidden_layers=4, num_attention_heads=12, **keys
    )
    torch.manual_seed(0)
    return library.shake(transformers.VideoMAEForVideoClassification(config))


def test_shapes_and_gradients() -> None:
    model = library.backbone(NAME, *SMALL, "MODEL.FPN.IN_FEATURES", '["res2","res3","res4"]')
    clips = torch.rand(2, 3, 8, 64, 96)
    library.check_shapes(model, clips, {"res2": 1, "res3": 1, "res4": 4, "res5": 4})
    assert {n: s.stride for n, s in model.output_shape().items()} == {
        "res2": 4,
        "res3": 8,
        "res4": 16,
        "res5": 32,
    }
    library.check_gradients(model, clips)


def test_patches_of_fourteen_have_strides_of_fourteen() -> None:
    model = library.backbone(NAME, "MODEL.VIDEO_BACKBONE.VARIANT", "g", "MODEL.VIDEO_BACKBONE.WIDTH", 32,
                             "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1,1,1,1]")  # fmt: skip
    library.check_shapes(model, torch.rand(1, 3, 4, 56, 84), {"res3": 1, "res4": 2, "res5": 2})
    with pytest.raises(UserError, match="64x64 pixels: .*multiples of 28"):
        model(torch.zeros(1, 3, 4, 64, 64))


def as_transformers_4(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The biases as version 4 and published files name them."""
    return {re.sub(r"\.(q)uery\.bias$|\.(v)alue\.bias$", lambda m: f".{m[1] or m[2]}_bias", key): value
            for key, value in state.items()}  # fmt: skip


@pytest.mark.parametrize("file", ["state dict", "version 4", "safetensors"])
def test_the_librarys_weights_and_features(tmp_path, file: str) -> None:
    model = theirs(use_mean_pooling=False)
    if file == "safetensors":
        model.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    else:
        path = tmp_path / "model.bin"
        state = model.state_dict()
        torch.save(as_transformers_4(state) if file == "version 4" else state, path)
    ours = library.backbone(NAME, *SMALL).eval()
    checkpointer = MESTADCheckpointer(library.Whole(ours))
    checkpointer.load(str(path), checkpointables=[])
    report = checkpointer.last_report
    assert not report.missing and not report.filled and not report.notes
    assert set(report.dropped) == {"classifier.weight", "classifier.bias"}
    assert {key for key in report.new if key.startswith("backbone.")} == {
        f"backbone.pyramid.res3.{x}" for x in ("weight", "bias")
    }
    clips = torch.rand(1, 3, 16, 224, 224)
    with torch.no_grad():
        want = model.videomae(clips.transpose(1, 2)).last_hidden_state
        found = ours(clips)
    res4 = want.transpose(1, 2).reshape(1, 24, 8, 14, 14)
    torch.testing.assert_close(found["res4"][0], res4, rtol=1e-4, atol=1e-4)
    assert res4.std() > 0.1


def authors_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors of the transformer as VideoMAE's authors name them: they are the same."""
    return {
        key.removeprefix("backbone.vit."): v for key, v in state.items() if key.startswith("backbone.vit.")
    }


def authors_pretrained(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A pre-trained file: the encoder beside a decoder."""
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder.blocks.0.attn.qkv.weight": torch.zeros(24, 8),
               "decoder.blocks.0.attn.q_bias": torch.zeros(8), "encoder_to_decoder.weight": torch.zeros(8, 24)}  # fmt: skip
    return {**{"encoder." + key: value for key, value in authors_names(state).items()}, **decoder}


def authors_finetuned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A fine-tuned file: the norm is that of the mean token."""
    named = {key.replace("norm.", "fc_norm.") if key.startswith("norm.") else key: value
             for key, value in authors_names(state).items()}  # fmt: skip
    return {**named, "head.weight": torch.zeros(400, 24), "head.bias": torch.zeros(400)}


def mmactions(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """mmaction2's names, its table of positions, and a detector's head with a background row."""
    pairs = (
        ("patch_embed.proj.", "patch_embed.projection."),
        ("mlp.fc1.", "mlp.layers.0.0."),
        ("mlp.fc2.", "mlp.layers.1."),
    )
    named = {}
    for key, value in authors_names(state).items():
        for ours, theirs_ in pairs:
            key = key.replace(ours, theirs_)
        named["backbone." + key] = value
    named["backbone.pos_embed"] = sinusoid_table(8 * 14 * 14, 24)[None]
    named["roi_head.bbox_head.fc_cls.weight"] = torch.arange(81.0)[:, None].expand(81, 4)
    return {**named, "roi_head.bbox_head.fc_cls.bias": torch.arange(81.0)}


@pytest.mark.parametrize("style", [authors_pretrained, authors_finetuned, mmactions])
@pytest.mark.parametrize("wrapper", ["model", "module", "state_dict"])
def test_names_of_the_authors_and_of_mmaction2(tmp_path, style, wrapper: str) -> None:
    source = library.Whole(library.shake(library.backbone(NAME, *SMALL)))
    target = library.Whole(library.backbone(NAME, *SMALL))
    torch.save({wrapper: style(source.state_dict())}, tmp_path / "vit.pth")
    checkpointer = MESTADCheckpointer(target)
    checkpointer.load(str(tmp_path / "vit.pth"), checkpointables=[])
    report = checkpointer.last_report
    assert report.origin == "VideoMAE" and not report.missing and not report.filled
    assert all("decoder" in key or key == "mask_token" or key.startswith("head.") for key in report.dropped)
    for key, value in source.state_dict().items():
        if key.startswith("backbone.vit."):
            assert torch.equal(target.state_dict()[key], value), key
    if style is mmactions:
        assert target.roi_heads["classifier"].bias.tolist() == list(range(1, 81))


def test_learned_positions_are_told(tmp_path) -> None:
    source = library.Whole(library.backbone(NAME, *SMALL))
    state = {**authors_names(source.state_dict()), "pos_embed": torch.randn(1, 1568, 24)}
    report = library.load(library.backbone(NAME, *SMALL), state, tmp_path / "vit.pth")
    assert set(report.dropped) == {"pos_embed"}


def test_the_table_is_that_of_the_formula() -> None:
    table = sinusoid_table(50, 6)
    for position in (0, 7, 49):
        for channel in range(6):
            angle = torch.tensor(position / 10000 ** (2 * (channel // 2) / 6), dtype=torch.float64)
            want = angle.sin() if channel % 2 == 0 else angle.cos()
            assert float(table[position, channel]) == pytest.approx(float(want), abs=1e-6)


def test_positions_of_other_grids_equal_transformers_image_by_image() -> None:
    vit = pytest.importorskip("transformers.models.vit.modeling_vit")
    from transformers import ViTConfig

    embeddings = vit.ViTEmbeddings(
        ViTConfig(hidden_size=24, image_size=224, patch_size=16, num_attention_heads=2)
    )
    table = torch.randn(8, 14 * 14, 24)
    found = resize_positions(table.flatten(0, 1), (8, 14, 14), (8, 10, 20)).view(8, 200, 24)
    for image, want in zip(table, found, strict=True):
        embeddings.position_embeddings.data = torch.cat([torch.zeros(1, 1, 24), image[None]], dim=1)
        theirs_ = embeddings.interpolate_pos_encoding(torch.zeros(1, 201, 24), 160, 320)[0, 1:]
        torch.testing.assert_close(want, theirs_, rtol=1e-5, atol=1e-5)


def test_positions_keep_their_place_in_time() -> None:
    t = torch.arange(8.0)[:, None].expand(8, 4).reshape(-1, 1)
    found = resize_positions(t, (8, 2, 2), (16, 2, 2)).view(16, 4)
    want = ((torch.arange(16.0) + 0.5) / 2 - 0.5).clamp(0, 7)
    torch.testing.assert_close(found, want[:, None].expand(16, 4))
    assert resize_positions(t, (8, 2, 2), (8, 2, 2)).squeeze(0) is not None


def test_frozen_blocks_have_no_gradient_and_drop_no_path() -> None:
    opts = ("MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", 2, "MODEL.VIDEO_BACKBONE.DROP_PATH", 0.9)
    model = library.backbone(NAME, *SMALL, *opts).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {name.split(".")[2] for name in frozen if "blocks" in name} == {"0", "1"}
    assert any("patch_embed" in name for name in frozen)
    assert not model.vit.blocks[1].training and model.vit.blocks[2].training
    whole = library.backbone(NAME, *SMALL, "MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", -1).train()
    assert not any(p.requires_grad for p in whole.vit.parameters()) and not whole.vit.training
    whole(torch.rand(1, 3, 4, 32, 32))["res3"][0].sum().backward()
    assert whole.pyramid["res3"].weight.grad.any()
    with pytest.raises(UserError, match="FROZEN_BLOCKS 5: the backbone has 4 blocks"):
        library.backbone(NAME, *SMALL, "MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", 5)


def test_recomputed_blocks_give_the_same_gradients() -> None:
    grads = []
    clips = torch.rand(1, 3, 4, 32, 32)
    for recompute in (False, True):
        opts = ("MODEL.VIDEO_BACKBONE.CHECKPOINTING", recompute, "MODEL.VIDEO_BACKBONE.DROP_PATH", 0.0)
        model = library.backbone(NAME, *SMALL, *opts).train()
        model(clips)["res4"][0].square().sum().backward()
        grads.append([p.grad for p in model.vit.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_learning_rates_fall_with_depth_and_biases_of_attention_decay_not() -> None:
    cfg = library.cfg_of(NAME, *SMALL)
    whole = library.Whole(library.backbone(NAME, *SMALL))
    optimizer = build_optimizer(cfg, whole)
    groups = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    assert len(groups) == len(list(whole.parameters()))
    base, decay = cfg.SOLVER.BASE_LR, cfg.SOLVER.LAYER_DECAY
    vit = whole.backbone.vit
    for parameter, share in (
        (vit.patch_embed["proj"].weight, decay**5),
        (vit.blocks[0].attn.qkv.weight, decay**4),
        (vit.blocks[3].mlp.fc1.weight, decay),
        (vit.norm.weight, 1),
        (whole.backbone.pyramid["res3"].weight, 1),
        (whole.roi_heads["classifier"].weight, 1),
    ):
        assert groups[id(parameter)]["lr"] == pytest.approx(base * share)
    assert groups[id(vit.blocks[0].attn.q_bias)]["weight_decay"] == 0
    assert groups[id(vit.blocks[0].attn.qkv.weight)]["weight_decay"] == pytest.approx(0.05)


def test_layer_decay_of_another_backbone_is_one_line() -> None:
    cfg = library.cfg_of("X3D_S_13x6", "SOLVER.LAYER_DECAY", 0.5)
    with pytest.raises(UserError, match="only plain transformers"):
        build_optimizer(cfg, library.Whole(library.backbone("X3D_S_13x6", *SMALL)))


def test_the_backbone_costs_what_its_authors_say() -> None:
    """180 GFLOPs on 16 frames of 224x224 (VideoMAE, Table 6), 87 million parameters."""
    with torch.device("meta"):
        model = library.backbone(NAME).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 16, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(180, abs=1)
    assert sum(p.numel() for p in model.vit.parameters()) / 1e6 == pytest.approx(86.2, abs=0.1)
