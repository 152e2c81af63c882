"""Config files: local yaml mappings only, wrong values in one line, keys of older versions still read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from detectron2.config import get_cfg
from tiny import CONFIG, tiny_cfg

from mestad_d2 import add_mestad_config, config_files
from mestad_d2.config_files import RENAMED
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector
from mestad_d2.modeling.proposal_generator.settings import selections

BASE = f'_BASE_: "{CONFIG}"\n'
OLD, NEW = "MODEL.FCOS.SCORE_THRESH_TEST", "MODEL.PROPOSALS.SCORE_THRESH_TEST"


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test hears the warning that is given once a process."""
    monkeypatch.setattr(config_files, "_said", set())


def written(folder: Path, text: str, name: str = "c.yaml") -> Path:
    """A config file of that text."""
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found it empty"),
        ("# nothing but a comment\n", "found it empty"),
        ("- MODEL\n- INPUT\n", "found it a list"),
        ("just words\n", "found it a str"),
        ("7\n", "found it a int"),
        ("MODEL: {DEVICE: [cpu\n", "no readable yaml"),
        ("MODEL: !!python/object/apply:os.getcwd []\n", "no readable yaml"),
        ("MODEL: 5\n", "MODEL"),
        ("MODEL: null\n", "MODEL"),
        ("MODEL: []\n", "MODEL"),
        ("1: 2\n", "1"),
        ("MODEL: {DEVICE: 5}\n", "DEVICE"),
        ("NO_SUCH_KEY: 1\n", "NO_SUCH_KEY"),
        ("VERSION: 99\n", "99"),
        ("DATASETS: {TRAIN: toy_train}\n", "TRAIN"),
        ("DATASETS: {CUSTOM: {NAME: x}}\n", "CUSTOM"),
        ('_BASE_: "https://127.0.0.1:9/base.yaml"\n', "no local file"),
        ('_BASE_: "http://127.0.0.1:9/base.yaml"\n', "no local file"),
        ('_BASE_: "detectron2://base.yaml"\n', "no local file"),
        ("_BASE_: 5\n", "no local file"),
        ("_BASE_: {a: b}\n", "no local file"),
        ("_BASE_: absent.yaml\n", "absent.yaml: no such config file"),
        ("_BASE_: c.yaml\n", "is based on itself"),
        (f"_BASE_: {'long' * 2000}.yaml\n", "no such config file"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        setup_cfg(written(tmp_path, text))
    assert told in str(error.value) and "c.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(UserError, match="c.yaml: no readable yaml"):
        setup_cfg(tmp_path / "c.yaml")
    with pytest.raises(UserError, match="no such config file"):
        setup_cfg(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.CLIP.NUM_FRAMES", 0),
        ("INPUT.CLIP.SAMPLING_RATE", 0),
        ("INPUT.CLIP.FPS", 0.0),
        ("INPUT.CLIP.FPS", "float('nan')"),
        ("INPUT.CLIP.ON_ERROR", "ignore"),
        ("INPUT.CLIP.SCALE_RANGE", [1.2, 0.8]),
        ("INPUT.MIN_SIZE_TEST", 0),
        ("INPUT.RANDOM_FLIP", "vertical"),
        ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "both"),
        ("MODEL.DEVICE", "gpu"),
        ("MODEL.DEVICE", "cuda:99"),
        ("MODEL.DEVICE", "meta"),
        ("MODEL.VIDEO_RESNET.NORM", "LN"),
        ("MODEL.VIDEO_RESNET.WIDTH", 0),
        ("MODEL.FCOS.LOC_LOSS", "l1"),
        ("MODEL.FCOS.PRIOR_PROB", 1.0),
        ("MODEL.ROI_ACTION_HEAD.NUM_CLASSES", 0),
        ("MODEL.ROI_ACTION_HEAD.TRAIN_BOXES", "ground truth"),
        ("MODEL.ROI_ACTION_HEAD.SPATIAL_POOL", "mean"),
        ("MODEL.PROPOSALS.POST_NMS_TOPK_TEST", 0),
        ("SOLVER.OPTIMIZER", "Adam"),
        ("SOLVER.ON_NONFINITE", "go on"),
        ("SOLVER.LR_SCHEDULER_NAME", "Cosine"),
        ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "total"),
        ("SOLVER.CHECKPOINT_PERIOD", 0),
        ("SOLVER.MAX_ITER", 0),
        ("SOLVER.IMS_PER_BATCH", 0),
        ("SOLVER.BASE_LR", "1e400"),
        ("SOLVER.BASE_LR", -0.1),
        ("DATALOADER.NUM_WORKERS", -1),
        ("SEMISUP.EMA_DECAY", 1.5),
        ("TEST.BATCH_SIZE", 0),
        ("TEST.EVAL_PERIOD", -5),
        ("TEST.PROTOCOLS", ["coco"]),
    ],
)
def test_a_value_that_no_run_can_use_is_one_line(key: str, value: object) -> None:
    with pytest.raises(UserError) as error:
        tiny_cfg(key, value)
    assert key in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "name", "near"),
    [
        ("MODEL.BACKBONE.NAME", "build_slow_fast_backbone", "build_slowfast_backbone"),
        ("MODEL.PROPOSAL_GENERATOR.NAME", "FCOSProposal", "FCOSProposals"),
        ("MODEL.ROI_HEADS.NAME", "VideoHeads", "VideoROIHeads"),
        ("MODEL.ROI_ACTION_HEAD.NAME", "LinearHead", "LinearActionHead"),
        ("MODEL.META_ARCHITECTURE", "ME-STAD", "MESTAD"),
    ],
)
def test_a_part_that_is_not_registered_is_one_line(key: str, name: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}: no '{name}' is registered; use .*{near}"):
        build_detector(tiny_cfg(key, name))


@pytest.mark.parametrize("key", ["DATASETS.TRAIN", "DATASETS.TEST"])
def test_an_unknown_dataset_is_one_line(key: str, tmp_path: Path) -> None:
    cfg = tiny_cfg(key, "('toy_trian',)", "OUTPUT_DIR", tmp_path)
    with pytest.raises(UserError, match=rf"^{key}: no dataset 'toy_trian' is registered; use toy_train"):
        MESTADTrainer(cfg)


def test_names_of_an_older_version_are_read_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {name: (i + 1) / 10 if "THRESH" in name else i + 2 for i, name in enumerate(RENAMED)}
    nodes = {name.rpartition(".")[2]: value for name, value in values.items()}
    path = written(tmp_path, BASE + yaml.safe_dump({"MODEL": {"FCOS": nodes}}))
    by_file = setup_cfg(path)
    by_options = setup_cfg(CONFIG, [str(part) for pair in values.items() for part in pair])
    for name, value in nodes.items():
        assert by_file.MODEL.PROPOSALS[name] == by_options.MODEL.PROPOSALS[name] == value
    assert selections(by_file) == selections(by_options)
    assert caplog.text.count("is now called") == 1
    # What a run writes down is read again.
    again = setup_cfg(written(tmp_path, by_file.dump(), "dump.yaml"))
    assert again.MODEL.PROPOSALS == by_file.MODEL.PROPOSALS


@pytest.mark.parametrize(
    ("base", "file", "options", "right"),
    [
        (OLD, OLD, [], 0.2),
        (OLD, NEW, [], 0.2),
        (NEW, OLD, [], 0.2),
        (NEW, OLD, [NEW, "0.3"], 0.3),
        (OLD, NEW, [OLD, "0.3"], 0.3),
        (OLD, OLD, [OLD, "0.4", NEW, "0.3"], 0.3),
    ],
)
def test_the_later_of_two_names_counts(
    tmp_path: Path, base: str, file: str, options: list[str], right: float
) -> None:
    def text(key: str, value: float) -> str:
        _, part, leaf = key.split(".")
        return f"MODEL: {{{part}: {{{leaf}: {value}}}}}\n"

    written(tmp_path, BASE + text(base, 0.1), "base.yaml")
    cfg = setup_cfg(written(tmp_path, "_BASE_: base.yaml\n" + text(file, 0.2)), options)
    assert selections(cfg)["test_selection"].score_thresh == right


def test_both_names_in_one_file_are_refused(tmp_path: Path) -> None:
    both = "MODEL: {FCOS: {NMS_THRESH_TEST: 0.1}, PROPOSALS: {NMS_THRESH_TEST: 0.2}}\n"
    with pytest.raises(UserError, match=r"sets MODEL\.FCOS\.NMS_THRESH_TEST and MODEL\.PROPOSALS"):
        setup_cfg(written(tmp_path, BASE + both))


def test_old_names_work_without_our_reader(tmp_path: Path) -> None:
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.merge_from_file(str(written(tmp_path, "MODEL: {FCOS: {SCORE_THRESH_TEST: 0.15}}\nVERSION: 2\n")))
    cfg.MODEL.FCOS.NMS_THRESH_TEST = 0.7
    chosen = selections(cfg)["test_selection"]
    assert (chosen.score_thresh, chosen.nms_thresh) == (0.15, 0.7)
