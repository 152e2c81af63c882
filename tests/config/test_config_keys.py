"""Every key of detectron2's default config has an effect or is refused by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yacs.config
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling.backbone import BACKBONE_REGISTRY
from detectron2.solver import build_lr_scheduler
from tiny import CONFIG, ROOT, SMALLER, tiny_cfg
from torch import nn

from mestad_d2.config_files import leaves
from mestad_d2.config_keys import AS_ALWAYS, HONOURED_WITH, check_keys
from mestad_d2.data.mapper import ClipMapper
from mestad_d2.engine.optim import build_optimizer, scale_to_processes
from mestad_d2.engine.trainer import MESTADTrainer, verify_results
from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg

DEFAULTS = dict(leaves(get_cfg()))
GENERATORS = {
    "FCOSProposals": CONFIG,
    "RetinaNetProposals": ROOT / "configs/ablations/table2/retinanet.yaml",
    "RPNRCNNProposals": ROOT / "configs/ablations/table2/rpn_rcnn.yaml",
}
# Read elsewhere than where a model, its optimiser, schedule, loaders and hooks are made.
READ_ELSEWHERE = {
    "VERSION", "CUDNN_BENCHMARK", "FLOAT32_PRECISION", "OUTPUT_DIR", "SEED", "MODEL.WEIGHTS", "DATASETS.TRAIN",
    "DATASETS.TEST", "DATALOADER.NUM_WORKERS", "DATALOADER.FILTER_EMPTY_ANNOTATIONS", "SOLVER.IMS_PER_BATCH",
    "SOLVER.AMP.ENABLED", "SOLVER.CHECKPOINT_PERIOD", "TEST.EVAL_PERIOD", "TEST.EXPECTED_RESULTS",
    "TEST.PRECISE_BN.ENABLED", "TEST.PRECISE_BN.NUM_ITER",
}  # fmt: skip


def other(value: Any) -> Any:
    """Another value of the same type."""
    if value is None:  # in some versions: nothing chosen
        return 0.5
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return type(value)([*value, 7])


def with_value(cfg: CfgNode, key: str, value: Any) -> CfgNode:
    """A copy with another value at a dotted key."""
    cfg = cfg.clone()
    cfg.defrost()
    *path, leaf = key.split(".")
    node = cfg
    for part in path:
        node = node[part]
    node[leaf] = value
    return cfg


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Dotted keys that are read of a config prepared by ``watched``."""
    seen: set[str] = set()
    plain = yacs.config.CfgNode.__getattr__

    def noted(node: CfgNode, name: str) -> Any:
        if "_path" in node.__dict__ and name in node:
            seen.add(node.__dict__["_path"] + name)
        return plain(node, name)

    monkeypatch.setattr(yacs.config.CfgNode, "__getattr__", noted)
    return seen


def watched(cfg: CfgNode, path: str = "") -> CfgNode:
    """The config, its nodes knowing their places."""
    cfg.__dict__["_path"] = path
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            watched(value, f"{path}{key}.")
    return cfg


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_key_is_read_or_refused(generator: str, reads: set[str], caplog: pytest.LogCaptureFixture) -> None:
    opts = [*SMALLER, "MODEL.ROI_BOX_HEAD.FC_DIM", "16"] if generator == "RPNRCNNProposals" else SMALLER
    cfg = setup_cfg(GENERATORS[generator], opts)
    silent = []
    for key, default in DEFAULTS.items():
        caplog.clear()
        try:
            check_keys(with_value(cfg, key, other(default)))
        except UserError as error:
            assert str(error).startswith(f"{key}: ") and "\n" not in str(error)
            continue
        if not any(key in record.getMessage() for record in caplog.records):
            silent.append(key)
    reads.clear()
    schedules = [("SGD", "WarmupMultiStepLR"), ("AdamW", "WarmupCosineLR")]
    if "SOLVER.NUM_DECAYS" in DEFAULTS:
        schedules.append(("SGD", "WarmupStepWithFixedGammaLR"))
    for optimizer, schedule in schedules:
        built = watched(
            setup_cfg(GENERATORS[generator], [*opts, "SOLVER.OPTIMIZER", optimizer, "SOLVER.LR_SCHEDULER_NAME",
                                              schedule, "SOLVER.CLIP_GRADIENTS.ENABLED", "True",
                                              "SOLVER.REFERENCE_WORLD_SIZE", "1"])
        )  # fmt: skip
        model = MESTADTrainer.build_model(built)
        build_lr_scheduler(built, build_optimizer(scale_to_processes(built, 1), model))
        ClipMapper(built, True), ClipMapper(built, False)
    # detectron2 copies the clipping keys before it reads them.
    clipping = {key for key in DEFAULTS if key.startswith("SOLVER.CLIP_GRADIENTS.")}
    as_always = {key for key, value in AS_ALWAYS.items() if value == other(DEFAULTS[key])}
    unread = set(silent) - reads - READ_ELSEWHERE - clipping - as_always
    assert not unread


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"),
        ("VIS_PERIOD", "20"),
        ("TEST.AUG.ENABLED", "True"),
        ("MODEL.BACKBONE.FREEZE_AT", "3"),
        ("MODEL.MASK_ON", "True"),
        ("MODEL.RESNETS.DEPTH", "101"),
        ("INPUT.FORMAT", "BGR "),
    ],
)
def test_an_option_without_effect_is_one_line(key: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}: .* has no effect here \(.*\); remove it$"):
        tiny_cfg(key, value)


def test_values_that_name_what_is_done_anyway_are_taken() -> None:
    cfg = tiny_cfg()
    for key, value in AS_ALWAYS.items():
        check_keys(with_value(cfg, key, value))


def test_keys_of_a_part_that_is_not_chosen_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tiny_cfg("MODEL.RETINANET.NUM_CONVS", 2)
    assert (
        "MODEL.RETINANET.NUM_CONVS: no effect with MODEL.PROPOSAL_GENERATOR.NAME FCOSProposals" in caplog.text
    )
    assert set(HONOURED_WITH) < set(GENERATORS)


def test_parts_of_others_may_read_any_model_key() -> None:
    def theirs(cfg: CfgNode, shape: object) -> None:
        """Reads MODEL.RESNETS."""

    theirs.__name__ = "build_their_backbone"
    BACKBONE_REGISTRY.register(theirs)
    try:
        tiny_cfg("MODEL.BACKBONE.NAME", "build_their_backbone", "MODEL.RESNETS.DEPTH", 101)
        with pytest.raises(UserError, match="VIS_PERIOD"):
            tiny_cfg("MODEL.BACKBONE.NAME", "build_their_backbone", "VIS_PERIOD", 1)
    finally:
        BACKBONE_REGISTRY._obj_map.pop("build_their_backbone")


def layers() -> nn.Module:
    """A convolution with a bias, a batch norm and a linear layer."""
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_rates_and_decays_of_biases_and_norms(name: str) -> None:
    cfg = tiny_cfg("SOLVER.OPTIMIZER", name, "SOLVER.BASE_LR", 0.1, "SOLVER.BIAS_LR_FACTOR", 2.0,
                   "SOLVER.WEIGHT_DECAY", 0.01, "SOLVER.WEIGHT_DECAY_NORM", 0.02,
                   "SOLVER.WEIGHT_DECAY_BIAS", 0.03)  # fmt: skip
    model = layers()
    found = {}
    for group in build_optimizer(cfg, model).param_groups:
        found |= {id(parameter): (group["lr"], group["weight_decay"]) for parameter in group["params"]}
    by_name = {key: found[id(parameter)] for key, parameter in model.named_parameters()}
    assert by_name == {
        "0.weight": (0.1, 0.01), "0.bias": (0.2, 0.03), "1.weight": (0.1, 0.02), "1.bias": (0.2, 0.03),
        "2.weight": (0.1, 0.01), "2.bias": (0.2, 0.03),
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "expected"), [("value", [0.5, 0.5]), ("norm", [0.3, 0.4])])
def test_gradients_are_clipped_tensor_by_tensor(kind: str, expected: list[float]) -> None:
    cfg = tiny_cfg("SOLVER.OPTIMIZER", "SGD", "SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.BASE_LR", 1.0,
                   "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", kind, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5,
                   "SOLVER.MOMENTUM", 0.0, "SOLVER.WEIGHT_DECAY", 0.0)  # fmt: skip
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(cfg, model)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    optimizer.step()
    torch.testing.assert_close((before - model.weight)[0], torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_a_schedule_is_scaled_to_the_processes() -> None:
    cfg = tiny_cfg("SOLVER.REFERENCE_WORLD_SIZE", 8, "SOLVER.IMS_PER_BATCH", 16, "SOLVER.BASE_LR", 0.1,
                   "SOLVER.MAX_ITER", 1000, "SEMISUP.BURN_IN_ITERS", 500, "INPUT.CLIP.COARSE_ITERS", 100)  # fmt: skip
    scaled = scale_to_processes(cfg, 2)
    assert scaled.SOLVER.IMS_PER_BATCH == 4 and scaled.SOLVER.BASE_LR == pytest.approx(0.025)
    assert (scaled.SOLVER.MAX_ITER, scaled.SEMISUP.BURN_IN_ITERS, scaled.INPUT.CLIP.COARSE_ITERS) == (
        4000, 2000, 400,
    )  # fmt: skip
    assert scaled.is_frozen() and scale_to_processes(cfg, 8) is cfg
    with pytest.raises(UserError, match="REFERENCE_WORLD_SIZE: 3 does not divide"):
        scale_to_processes(with_value(cfg, "SOLVER.REFERENCE_WORLD_SIZE", 3), 2)


def test_expected_results(caplog: pytest.LogCaptureFixture) -> None:
    cfg = tiny_cfg("TEST.EXPECTED_RESULTS", "[['frame', 'mAP', 40.0, 1.0]]")
    verify_results(cfg, {"frame": {"mAP": 40.9}})
    for wrong in ({"frame": {"mAP": 38.9}}, {"frame": {"mAP": float("nan")}}, {}):
        with pytest.raises(SystemExit) as left:
            verify_results(cfg, wrong)
        assert left.value.code == 1
    assert "frame/mAP is 38.9, expected 40 +- 1" in caplog.text
    with pytest.raises(UserError, match="TEST.EXPECTED_RESULTS: .*give four"):
        tiny_cfg("TEST.EXPECTED_RESULTS", "[['frame', 40.0]]")


def test_every_config_of_the_folder_passes(caplog: pytest.LogCaptureFixture) -> None:
    for path in sorted(Path(ROOT / "configs").rglob("*.yaml")):
        setup_cfg(path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
