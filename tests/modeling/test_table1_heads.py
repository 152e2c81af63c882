"""The heads of the other methods of Table 1, against loops, libraries and values by hand; each learns two clips."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.structures import Boxes, ImageList, Instances
from tiny import SMALLER, fake_input, tiny_cfg
from torch import nn

from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector
from mestad_d2.modeling.roi_heads.action_transformer import ActionTransformerUnit, join_over_time
from mestad_d2.modeling.roi_heads.crops import CropROIHeads, enlarged
from mestad_d2.modeling.roi_heads.embedding_interaction import EmbeddingInteraction
from mestad_d2.modeling.roi_heads.feature_bank import FeatureBank, NonLocalBankOperator
from mestad_d2.reproduce.tables import TABLES, row_config

ROWS = {row.config.split("/")[1]: row for row in TABLES[1].rows}
HEADS = ("vat", "context_rcnn", "lfb", "woo", "i3d")
# Four frames: I3D halves time once, and two steps are left.
CLIPS = [
    fake_input([[4, 6, 40, 60], [44, 4, 76, 62]], seed=1),
    fake_input([[20, 10, 60, 60]], seed=2),
]
# What makes an iteration cheap: crops and grids of actors are most of it.
CHEAP = {
    "context_rcnn": ("MODEL.ACTOR_CROPS.SIZE", 48),
    "woo": ("MODEL.SPARSE_RCNN.NUM_STAGES", 2),
    "vat": ("MODEL.ROI_ACTION_HEAD.POOLER_RESOLUTION", 4),
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def row_cfg(name: str, folder: Path, *opts: object) -> CfgNode:
    """The toy config of a row of Table 1, smaller still."""
    path = folder / "row.yaml"
    path.write_text(yaml.safe_dump(row_config(ROWS[name], "toy")))
    return setup_cfg(path, [*SMALLER, *map(str, CHEAP.get(name, ())), *map(str, opts)])


def clips(cfg: CfgNode) -> list[dict]:
    """The two clips with their boxes as external ones, a second apart in one film."""
    items = []
    for second, item in enumerate(CLIPS):
        boxes = item["instances"].gt_boxes.clone()
        people = Instances(item["instances"].image_size, proposal_boxes=boxes)
        people.objectness_logits = torch.ones(len(boxes))
        items.append({**item, "proposals": people, "timestamp": float(second)})
    return items


@pytest.mark.parametrize("name", HEADS)
def test_learns_two_clips_in_20_iterations(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = row_cfg(name, tmp_path, "MODEL.ROI_ACTION_HEAD.DROPOUT", 0.0)
    model = build_detector(cfg).train()
    items, losses = clips(cfg), []
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for step in range(20):
        if name == "lfb" and step == 5:
            fill(model, items)
        found = model(items)
        optimizer.zero_grad()
        sum(found.values()).backward()
        without = {n for n, p in model.named_parameters() if p.grad is None}
        # Without proposals yet, the FCOS row has ground truth alone; every parameter has a gradient all the same.
        assert not without
        optimizer.step()
        losses.append(sum(found.values()).item())
    assert all(map(math.isfinite, losses)) and np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    results = model.eval()(items)
    assert all(r["instances"].pred_actions.shape[1] == 12 for r in results)


@pytest.mark.parametrize("name", HEADS)
def test_without_people_every_parameter_has_a_gradient(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = row_cfg(name, tmp_path)
    model, item = build_detector(cfg).train(), clips(cfg)[0]
    item |= {"instances": item["instances"][:0], "proposals": item["proposals"][:0]}
    losses = model([item])
    assert losses["loss_action"] == 0 and all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert not {n for n, p in model.named_parameters() if p.grad is None}
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def fill(model: nn.Module, items: list[dict]) -> None:
    """One pass over the film of the clips."""
    with model.roi_heads.filling() as bank:
        model.eval()(items)
    model.roi_heads.bank = bank
    model.train()


@pytest.mark.parametrize("name", HEADS)
def test_a_clip_does_not_depend_on_the_other_of_its_batch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = row_cfg(name, tmp_path, "MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.0)
    model, items = build_detector(cfg).eval(), clips(row_cfg(name, tmp_path))
    together = [r["instances"] for r in model(items)]
    alone = [model([item])[0]["instances"] for item in items]
    for one, other in zip(together, alone, strict=True):
        assert len(one) == len(other) > 0
        torch.testing.assert_close(one.pred_actions, other.pred_actions, rtol=1e-4, atol=1e-5)


# Video Action Transformer.


def test_a_units_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    unit = ActionTransformerUnit(dim=8, memory=6, num_heads=2, dropout=0.5).eval()
    actors, memory, counts = noise(3, 8), noise(2, 5, 6, seed=1), [2, 1]
    library = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    for own, other in ((unit.query, "q_proj"), (unit.key, "k_proj"), (unit.value, "v_proj")):
        getattr(library, f"{other}_weight").data = own.weight.data
    library.in_proj_bias.data = torch.cat([unit.query.bias, unit.key.bias, unit.value.bias]).data
    library.out_proj.weight.data, library.out_proj.bias.data = torch.eye(8), torch.zeros(8)
    rows = []
    for actor, clip in zip(actors, [0, 0, 1], strict=True):
        seen = library(actor[None, None], memory[clip][None], memory[clip][None])[0][0, 0]
        state = unit.norms[0](actor + seen)
        rows.append(unit.norms[1](state + unit.feedforward(state)))
    torch.testing.assert_close(unit(actors, memory, counts), torch.stack(rows))
    assert unit(actors[:0], memory, [0, 0]).shape == (0, 8)


def test_pathways_join_at_the_fewest_steps() -> None:
    slow, fast = noise(1, 2, 2, 3, 3), noise(1, 1, 8, 3, 3, seed=1)
    joined = join_over_time([slow, fast])
    torch.testing.assert_close(joined[:, :2], slow)
    torch.testing.assert_close(
        joined[:, 2:], torch.stack([fast[:, :, :4].mean(2), fast[:, :, 4:].mean(2)], 2)
    )


def test_the_transformer_sees_time_and_the_rest_of_the_frame(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_detector(row_cfg("vat", tmp_path)).eval()
    heads, people = model.roi_heads, [clips(row_cfg("vat", tmp_path))[0]["proposals"]]
    feature = noise(1, heads.reduce.in_features - 16, 8, 4, 5)
    images = ImageList(torch.zeros(1, 3, 8, 64, 80), [(64, 80)])

    def logits(x: torch.Tensor) -> torch.Tensor:
        return heads.logits(images, {heads.in_feature: [x]}, people)

    before, moments = logits(feature), feature[:, :, [3, 1, 2, 0, 4, 5, 6, 7]]
    # The order of moments other than the key frame matters only through their embedded locations.
    assert (logits(moments) - before).abs().max() > 1e-5
    for layer in heads.location:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
    torch.testing.assert_close(logits(moments), logits(feature))


# Context-RCNN.


def test_boxes_are_enlarged_around_their_centres() -> None:
    boxes = Boxes(torch.tensor([[10.0, 20, 30, 60], [0, 0, 8, 8]]))
    assert enlarged(boxes, 1.5).tolist() == [[5, 10, 35, 70], [-2, -2, 10, 10]]


def test_crops_are_the_picture_and_zero_beyond_it() -> None:
    heads = CropROIHeads.__new__(CropROIHeads)
    heads.crop_size, heads.crop_scale = 24, 2.0
    picture = cv2.GaussianBlur(np.random.default_rng(0).random((48, 64, 3)).astype(np.float32), (0, 0), 3)
    clip = torch.from_numpy(picture).permute(2, 0, 1)[:, None] * torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
    people = Instances((48, 64), proposal_boxes=Boxes(torch.tensor([[16.0, 16, 28, 28], [58, 30, 70, 42]])))
    found = heads.crops(ImageList(clip[None], [(48, 64)]), [people])
    assert found.shape == (2, 3, 2, 24, 24)
    # Enlarged to 24 pixels a side the crop is the picture itself.
    torch.testing.assert_close(found[0], clip[:, :, 10:34, 10:34], rtol=0, atol=1e-5)
    assert found[1, :, :, :, 14:].abs().max() == 0 and found[1, :, :, :, :10].abs().min() > 0


def test_the_backbone_of_the_crops_is_the_models_own(tmp_path: Path) -> None:
    model = build_detector(row_cfg("context_rcnn", tmp_path))
    assert model.roi_heads._shared[0] is model.backbone
    assert not [name for name in model.state_dict() if name.startswith("roi_heads") and "res5" in name]
    empty = {**CLIPS[0], "instances": CLIPS[0]["instances"][:0], "proposals": CLIPS[0]["instances"][:0]}
    empty["proposals"].proposal_boxes = empty["instances"].gt_boxes
    empty["proposals"].objectness_logits = torch.zeros(0)
    assert model.train()([empty])["loss_action"] == 0


# WOO.


def test_embeddings_of_one_clip_attend_to_each_other_and_filter_their_own_features() -> None:
    torch.manual_seed(0)
    model = EmbeddingInteraction(8, num_embeddings=5, positions=6, dynamic=3, num_heads=2).eval()
    features, index = noise(4, 8, 6), [torch.tensor([3, 0, 3]), torch.tensor([1])]
    got = model(features, index)
    own = model.embeddings[index[0]]
    state = model.norm(own + model.attention(own[None], own[None], own[None])[0][0])
    wanted = model.norm_out(state + model.interact(state, features[:3]))
    torch.testing.assert_close(got[:3], wanted)
    # Others' features do not matter, others' embeddings in the same clip do.
    changed = features.clone()
    changed[1] += 1
    assert (model(changed, index)[[0, 2, 3]] == got[[0, 2, 3]]).all()
    other = model(features, [torch.tensor([3, 4, 3]), index[1]])
    assert (other[0] - got[0]).abs().max() > 1e-4 and (other[3] == got[3]).all()


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (["MODEL.ROI_ACTION_HEAD.APPEND_GT", "True"], "APPEND_GT False"),
        (["MODEL.ROI_ACTION_HEAD.TEST_BOXES", "gt"], "TEST_BOXES"),
        (["MODEL.PROPOSAL_GENERATOR.NAME", "FCOSProposals"], "set SparseRCNNProposals"),
        (["MODEL.WOO.NUM_HEADS", "5"], "must divide DIM"),
    ],
)
def test_woo_without_its_proposals_is_one_line(opts: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as error:
        build_detector(row_cfg("woo", tmp_path, *opts))
    assert "\n" not in str(error.value)


# Long-term feature bank.


def test_a_window_of_the_bank_against_plain_loops() -> None:
    rng = np.random.default_rng(0)
    bank, rows = FeatureBank(), []
    for video, second in ((v, s) for v in ("a", "b") for s in rng.permutation(40) * 2.5):
        features = rng.normal(size=(rng.integers(0, 4), 3))
        bank.put(video, float(second), features)
        rows += [(video, second, f) for f in features.astype(np.float16)]
    again = FeatureBank.from_arrays(bank.to_arrays())
    assert len(again) == len(bank) == 80
    for time in (0.0, 10.1, 50.0, 97.5, 400.0):
        wanted = sorted((r for r in rows if r[0] == "a" and abs(r[1] - time) <= 30), key=lambda r: r[1])
        for found in (bank.around("a", time, 30.0), again.around("a", time, 30.0)):
            assert (found is None) == (not wanted)
            assert not wanted or np.array_equal(found, np.stack([f for *_, f in wanted]))
    assert bank.around("nobody", 0.0, 30.0) is None
    bank.put("a", 0.0, np.ones((1, 3)))
    assert (bank.around("a", 0.0, 0.0) == 1).all()


def test_the_banks_operator_against_plain_loops() -> None:
    torch.manual_seed(0)
    model = NonLocalBankOperator(6, dim=4, num_layers=2, dropout=0.3).eval()
    actors, bank = noise(3, 6), noise(5, 6, seed=1)
    for actor, got in zip(actors, model(actors, bank), strict=True):
        state, long = model.short(actor), model.long(bank)
        for i in range(2):
            scores = [float(model.query[i](state) @ key) / 2 for key in model.key[i](long)]
            weights = np.exp(scores) / np.exp(scores).sum()
            seen = sum(float(w) * v for w, v in zip(weights, model.value[i](long), strict=True))
            state = state + model.out[i](model.norms[i](seen).relu())
        torch.testing.assert_close(got, state)


def test_a_pass_fills_the_bank_and_only_the_films_own_moments_count(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cfg = row_cfg("lfb", tmp_path)
    model, items = build_detector(cfg), clips(cfg)
    fill(model, items)
    heads = model.eval().roi_heads
    assert len(heads.bank) == 2 and len(heads.bank.around("v", 0.0, 30.0)) == 3
    known = model(items)[0]["instances"].pred_actions
    far = FeatureBank()
    far.merge(heads.bank)
    far.put("v", 31.0, np.ones((2, heads.operator.short.in_features)))
    far.put("another film", 0.0, np.ones((2, heads.operator.short.in_features)))
    with heads.looking_into(far):
        assert torch.equal(model(items)[0]["instances"].pred_actions, known)
        far.put("v", 30.0, 5 * np.ones((2, heads.operator.short.in_features)))
        assert (model(items)[0]["instances"].pred_actions - known).abs().max() > 1e-6
    assert torch.equal(model(items)[0]["instances"].pred_actions, known)
    # Training clips do not change the bank.
    model.train()(items)
    assert len(heads.bank) == 2


def test_heads_that_look_at_whole_clips_make_no_pass_and_no_file(tmp_path: Path) -> None:
    from mestad_d2.inference.export.model import ExportableDetector
    from mestad_d2.inference.one_pass.detect import can_pass

    cfg = tiny_cfg("MODEL.ROI_HEADS.NAME", "ActionTransformerROIHeads")
    model = build_detector(cfg)
    assert not can_pass(model) and can_pass(build_detector(tiny_cfg()))
    with pytest.raises(UserError, match="ActionTransformerROIHeads can't be exported"):
        ExportableDetector(model)
