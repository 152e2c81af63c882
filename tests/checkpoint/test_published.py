"""Published detectors by name: they build and run, and a file that another config would change is told of."""

from __future__ import annotations

import models
import pytest
import rules
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from mestad_d2 import model_zoo
from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.formats import recognise

PRESETS = [name for name in model_zoo.list() if name.startswith("published/")]


def build(name: str, *opts: object) -> torch.nn.Module:
    """A preset's model, narrow."""
    cfg = model_zoo.get_config(name)
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.VIDEO_RESNET.WIDTH", 8, *opts])
    cfg.merge_from_list(["MODEL.VIDEO_BACKBONE.WIDTH", 48, "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", [1, 1, 1, 1]])
    return build_model(cfg).eval()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_scores_given_boxes(name: str) -> None:
    torch.manual_seed(0)
    cfg = model_zoo.get_config(name)
    boxes = Instances(
        (64, 64), proposal_boxes=Boxes([[4.0, 6, 40, 60], [20, 1, 63, 50]]), objectness_logits=torch.ones(2)
    )
    clip = torch.randint(0, 256, (3, min(cfg.INPUT.CLIP.NUM_FRAMES, 16), 64, 64), dtype=torch.uint8)
    found = build(name)([{"clip": clip, "proposals": boxes, "height": 64, "width": 64}])[0]["instances"]
    assert found.pred_actions.shape == (2, cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES)
    assert ((found.pred_actions >= 0) & (found.pred_actions <= 1)).all()


def detector_file(preset: str, style: str, tmp_path, rows: int = 80, config: str = "") -> str:
    """A file of a detector with a preset's narrow network, under a format's names."""
    model = models.shake(build(preset))
    state, fast = model.state_dict(), hasattr(model.backbone, "fast")
    name = {"PySlowFast": rules.pyslowfast, "Caffe2": rules.caffe2}.get(style)
    laterals = any(".laterals.stem.norm." in key for key in state)
    written = {
        (name(e) if name else rules.mmaction(e, fast=fast)): state[rules.ours(e)]
        for e in rules.entries(50, fast)
        if laterals or e[3] != "bn_lateral"
    }
    head = {"PySlowFast": "head.projection.", "Caffe2": "pred_", "mmaction2": "roi_head.bbox_head.fc_cls."}[
        style
    ]
    for leaf in ("weight", "bias"):
        ours = state[f"roi_heads.predictor.classifier.{leaf}"]
        background = torch.full((rows - len(ours), *ours.shape[1:]), 99.0)
        written[head + (leaf[0] if style == "Caffe2" else leaf)] = torch.cat([background, ours])
    content = {"blobs" if style == "Caffe2" else "model_state": written} | ({"cfg": config} if config else {})
    torch.save(content, tmp_path / "detector.pyth")
    return str(tmp_path / "detector.pyth")


def notes(model: torch.nn.Module, path: str) -> tuple[list[str], MESTADCheckpointer]:
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(path)
    return checkpointer.last_report.notes, checkpointer


CASES = [
    ("pyslowfast/SLOWFAST_32x2_R50_SHORT", "PySlowFast", 80),
    ("pyslowfast/SLOW_8x8_R50_SHORT", "PySlowFast", 80),
    ("pyslowfast/SLOW_4x16_R50", "Caffe2", 80),
    ("mmaction2/slowfast_r50_8x8", "mmaction2", 81),
    ("mmaction2/slowonly_r50_4x16", "mmaction2", 81),
]


@pytest.mark.parametrize(("preset", "style", "rows"), CASES)
def test_a_detectors_file_fits_its_preset_without_a_note_and_another_config_with_one(
    preset: str, style: str, rows: int, tmp_path
) -> None:
    path = detector_file(f"published/{preset}", style, tmp_path, rows)
    model = build(f"published/{preset}")
    told, checkpointer = notes(model, path)
    assert not told and not checkpointer.last_report.dropped and not checkpointer.last_report.new
    assert float(model.roi_heads.predictor.classifier.weight.detach().max()) < 99
    fast = "fast" in preset.split("/")[1].lower()
    other = build("AVA-v2.2/SlowFast_R50_8x8" if fast else "AVA-v2.2/SlowOnly_R50_4x16")
    (line,), _ = notes(other, path)
    assert f"published/{preset}" in line
    told = "VIDEO_RESNET.RES5_DILATION 1" if style == "mmaction2" else "ROI_ACTION_HEAD.POOLER_RESOLUTION 7"
    assert told in line and ("POOLER_ALIGNED False" in line) == (style == "Caffe2")
    assert ("SLOW_SAMPLING linspace" in line) == (fast and style == "PySlowFast")


def test_the_config_inside_a_pyslowfast_file_is_believed(tmp_path) -> None:
    dump = """
DATA: {MEAN: [0.45, 0.45, 0.45], STD: [0.225, 0.225, 0.225]}
DETECTION: {ALIGNED: false}
MODEL: {ARCH: slowfast}
NONLOCAL: {INSTANTIATION: dot_product, POOL: [[[1, 2, 2], [1, 2, 2]]]}
RESNET: {SPATIAL_DILATIONS: [[1, 1], [2, 1]], SPATIAL_STRIDES: [[2, 2], [1, 1]]}
SLOWFAST: {ALPHA: 8}
"""
    preset = "published/pyslowfast/SLOWFAST_32x2_R50_SHORT"
    (line,), _ = notes(build(preset), detector_file(preset, "PySlowFast", tmp_path, config=dump))
    for key in ("SLOWFAST.ALPHA 8", "POOLER_ALIGNED False", "FAST_RES5_DILATION 1"):
        assert key in line
    assert "RES5_STRIDE" not in line


def test_a_kinetics_classifier_says_nothing_of_detection(tmp_path) -> None:
    preset = "published/pyslowfast/SLOWFAST_32x2_R50_SHORT"
    path = detector_file(preset, "PySlowFast", tmp_path, rows=400)
    told, checkpointer = notes(build("AVA-v2.2/SlowFast_R50_8x8"), path)
    assert not told and len(checkpointer.last_report.dropped) == 2


def told(
    style: str,
    *,
    depth: int = 50,
    fast: bool = False,
    non_local=None,
    kernels=None,
    detector=False,
    norm=True,
):
    """What a format says of a network whose tensors are of size one but for the temporal kernels (stage, layer)."""
    name = {"PySlowFast": rules.pyslowfast, "Caffe2": rules.caffe2}.get(style)
    state = {}
    for entry in rules.entries(depth, fast, non_local):
        _, stage, _, layer, leaf = entry
        if layer == "bn_lateral" and not norm:
            continue
        time = (kernels or {}).get((stage, layer), 1)
        shape = (1, 1, time, 1, 1) if leaf == "weight" and not layer.startswith("bn_") else (1,)
        state[name(entry) if name else rules.mmaction(entry, fast=fast)] = torch.zeros(shape)
    file_format = recognise(state)
    assert file_format.NAME == style
    return file_format.expected(file_format.canonical(state), detector, None)


SLOW = {(4, "a"): 3, (5, "a"): 3}
NL = {3: [1, 3], 4: [1, 3, 5]}
SILENT = [
    ("a C2D pools over time after res2", ("PySlowFast", {}), {"VIDEO_RESNET.TEMPORAL_POOL": 2}),
    ("and an I3D", ("PySlowFast", {"kernels": {(1, "stem"): 5, **SLOW}}), {"VIDEO_RESNET.TEMPORAL_POOL": 2}),
    ("a Slow does not", ("PySlowFast", {"kernels": SLOW}), {"VIDEO_RESNET.TEMPORAL_POOL": 1}),
    (
        "non-local blocks of Kinetics pool over space",
        ("PySlowFast", {"kernels": SLOW, "non_local": NL}),
        {"NONLOCAL.POOL": [1, 2, 2], "NONLOCAL.POOL_FIRST": True, "NONLOCAL.INSTANTIATION": "dot_product"},
    ),
    (
        "the published R101-NL detector",
        ("Caffe2", {"depth": 101, "fast": True, "non_local": {4: [6, 13, 20]}, "kernels": SLOW, "detector": True}),
        {
            "SLOWFAST.FAST_RES5_DILATION": 2, "ROI_ACTION_HEAD.POOLER_RESOLUTION": 7, "NONLOCAL.POOL": [2, 2, 2],
            "ROI_ACTION_HEAD.POOLER_ALIGNED": False, "SLOWFAST.SLOW_SAMPLING": "linspace",
        },
    ),
    (
        "mmaction2's laterals with a norm have a ReLU",
        ("mmaction2", {"fast": True}),
        {"SLOWFAST.FUSION_NORM": True, "SLOWFAST.FUSION_RELU": True},
    ),
    (
        "those without have none",
        ("mmaction2", {"fast": True, "norm": False}),
        {"SLOWFAST.FUSION_NORM": False, "SLOWFAST.FUSION_RELU": False},
    ),
    (
        "its detectors do not dilate res5",
        ("mmaction2", {"detector": True}),
        {"VIDEO_RESNET.RES5_DILATION": 1, "ROI_ACTION_HEAD.POOLER_RESOLUTION": 8},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("what", "network", "settings"), SILENT, ids=[case[0] for case in SILENT])
def test_what_no_tensor_shows_is_told(what: str, network, settings) -> None:
    style, arguments = network
    found, preset = told(style, **arguments)
    assert {key: found.get(key) for key in settings} == settings
    if "R101" in what:
        assert preset == "pyslowfast/SLOWFAST_32x2_R101_50_50"
