"""tools/graft.py: weights of the action network stay, a person head is trained, every tool takes the result."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import load_script
from numbered_video import write_numbered_video
from tiny import CONFIG, ROOT, SMALLER, fake_input, tiny_cfg

from mestad_d2 import model_zoo
from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.data.person_boxes import read_person_boxes
from mestad_d2.errors import UserError
from mestad_d2.graft import boxes as graft_boxes
from mestad_d2.graft.training import one_network, trained_parts
from mestad_d2.inference.person_detector.base import PersonDetector
from mestad_d2.inference.person_detector.sources import DetectedPersons
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector

TOOL = load_script("tools/graft.py")
TWO_STAGE = [
    "MODEL.PROPOSAL_GENERATOR.NAME",
    "PrecomputedProposals",
    "MODEL.ROI_ACTION_HEAD.TEST_BOXES",
    "external",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a two-stage model, two films, and boxes on them."""
    root = tmp_path_factory.mktemp("graft")
    torch.manual_seed(0)
    model = build_detector(tiny_cfg(*TWO_STAGE))
    for name, value in model.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_()
    torch.save({"model": model.state_dict()}, root / "two_stage.pth")
    (root / "films").mkdir()
    for name in ("a", "b"):
        write_numbered_video(root / "films" / f"{name}.mp4", 60, Fraction(25))
    rows = [f"{video},{time},0.2,0.1,0.6,0.9,,0.95" for video in "ab" for time in (0, 0.5, 1, 1.5)]
    (root / "boxes.csv").write_text("\n".join([*rows, "a,2", "elsewhere,1,0.2,0.1,0.6,0.9,,0.95"]) + "\n")
    return root


def arguments(place: Path, output: Path, *more: object, weights: Path | None = None) -> list[str]:
    options = ["--config-file", CONFIG, "--weights", weights or place / "two_stage.pth", "--videos", place / "films",
               "--persons", f"csv:{place / 'boxes.csv'}", "--output", output, "--iterations", 3,
               "--batch", 2, *more]  # fmt: skip
    return [str(value) for value in (*options, "--opts", *TWO_STAGE, *SMALLER)]


def run(line: list[str]) -> int:
    return TOOL.main(TOOL.parse(line))


def test_a_graft_has_the_old_weights_and_a_new_person_head(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(place, tmp_path)) == 0
    assert "frozen were backbone, roi_heads" in capsys.readouterr().out
    old = torch.load(place / "two_stage.pth", weights_only=True)["model"]
    new = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert set(new) > set(old) and all(torch.equal(new[name], value) for name, value in old.items())
    parts = {"fpn", "proposal_generator", "keyframe_path"}
    assert {name.split(".")[0] for name in set(new) - set(old)} == parts
    # Boxes of other videos are not trained on.
    assert {video for video, _ in read_person_boxes(tmp_path / "persons.csv")} == {"a", "b"}
    cfg = setup_cfg(tmp_path / "config.yaml", ["MODEL.PROPOSALS.SCORE_THRESH_TEST", "0.0"])
    assert cfg.MODEL.WEIGHTS == str((tmp_path / "model_final.pth").resolve()) and not cfg.SOLVER.FREEZE
    assert cfg.DATASETS.TEST == ("toy_val",) and cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES == "proposals"
    # Written on a GPU, it runs without one.
    assert "DEVICE" not in (tmp_path / "config.yaml").read_text()
    model = build_detector(cfg).eval()
    MESTADCheckpointer(model, cfg=cfg).load_trained(cfg.MODEL.WEIGHTS)
    item = fake_input([[10, 10, 30, 60], [20, 5, 60, 50]])
    (found,) = model([item])
    assert len(found["instances"]) > 0
    # On given boxes it computes what the two-stage model does.
    two_stage = build_detector(tiny_cfg(*TWO_STAGE)).eval()
    two_stage.load_state_dict(old)
    (ours,) = model.inference([item], test_boxes="gt")
    (theirs,) = two_stage.inference([item], test_boxes="gt")
    assert torch.equal(ours["instances"].pred_actions, theirs["instances"].pred_actions)
    # The same command again finds its training done.
    before = (tmp_path / "model_final.pth").read_bytes()
    assert run(arguments(place, tmp_path)) == 0
    again = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert all(torch.equal(again[name], value) for name, value in new.items()) and before
    assert len(list(tmp_path.glob("run-*"))) == 1


@pytest.mark.slow
def test_a_graft_with_a_path_is_fine_tuned_as_documented(place: Path, tmp_path: Path) -> None:
    assert run(arguments(place, tmp_path / "output" / "graft", "--keyframe-path", 8)) == 0
    grafted = torch.load(tmp_path / "output" / "graft" / "model_final.pth", weights_only=True)["model"]
    old = torch.load(place / "two_stage.pth", weights_only=True)["model"]
    assert all(torch.equal(grafted[name], value) for name, value in old.items())
    assert {name.split(".")[0] for name in set(grafted) - set(old)} == {
        "fpn", "proposal_generator", "keyframe_path"
    }  # fmt: skip
    # The yaml of the page, on labels of every second; without augmentation that could crop all people away.
    page = (ROOT / "docs" / "first_day.md").read_text()
    (block,) = [text for text in re.findall("```yaml\n(.*?)```", page, re.S) if "SEMISUP" in text]
    (tmp_path / "labels.txt").write_text("".join(f"{i}: action {i}\n" for i in range(1, 13)))
    (tmp_path / "labels.csv").write_text(
        "".join(f"{video},{time},0.2,0.1,0.6,0.9,{time + 1},1\n" for video in "ab" for time in range(3))
    )
    for name, path in (("output/graft", tmp_path / "output" / "graft"), ("my_films", place / "films"),
                       ("labels.csv", tmp_path / "labels.csv"), ("labels.txt", tmp_path / "labels.txt")):  # fmt: skip
        block = block.replace(name, str(path))
    (tmp_path / "fine_tune.yaml").write_text(block)
    shorter = ["SOLVER.MAX_ITER", 4, "SEMISUP.BURN_IN_ITERS", 2, "SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 0,
               "SEMISUP.TEACHER_SCORE_THRESH", 0.0, "MODEL.PROPOSALS.SCORE_THRESH_TRAIN", 0.0,
               "OUTPUT_DIR", tmp_path / "tuned", "SOLVER.WARMUP_ITERS", 1]  # fmt: skip
    train = load_script("tools/train_net.py")
    results = train.main(train.parse(["--config-file", str(tmp_path / "fine_tune.yaml"), *map(str, shorter)]))
    assert 0 <= results["frame_map"]["mAP"] <= 100
    rows = [json.loads(row) for row in (tmp_path / "tuned" / "metrics.json").read_text().splitlines()]
    assert any("loss_action_unsup" in row for row in rows)
    tuned = torch.load(tmp_path / "tuned" / "model_final.pth", weights_only=True)["model"]
    assert tuned.keys() == grafted.keys()
    # All parts were trained, the path and the backbone too.
    for part in ("backbone", "keyframe_path", "fpn", "proposal_generator", "roi_heads"):
        assert any(not torch.equal(tuned[n], v) for n, v in grafted.items() if n.startswith(part)), part


def test_layers_that_no_file_has_are_trained(tmp_path: Path) -> None:
    cfg = model_zoo.get_config("published/mmaction2/videomae_base_16x4")
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.VIDEO_BACKBONE.WIDTH", 48,
                         "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", [1, 1, 1, 1]])  # fmt: skip
    # A file of the library has the transformer and the action head, and no pyramid.
    state = {n: v for n, v in build_detector(cfg).state_dict().items() if "pyramid" not in n}
    torch.save({"model": state}, tmp_path / "videomae.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "videomae.pth")
    assert trained_parts(one_network(cfg)) == ["backbone.vit", "roi_heads"]


class Counting(PersonDetector):
    """The left half of every picture; counts the pictures."""

    def __init__(self) -> None:
        super().__init__(0.0, 1.0, 10)
        self.seen = 0

    def detect(self, pictures):
        self.seen += len(pictures)
        return [
            (torch.tensor([[0.0, 0.0, p.shape[1] / 2, p.shape[0]]]), torch.tensor([0.9])) for p in pictures
        ]


def test_boxes_are_of_all_key_frames_and_found_once(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Counting()
    monkeypatch.setattr(graft_boxes, "build_person_source", lambda cfg: DetectedPersons(detector))
    cfg, videos = tiny_cfg("MODEL.PERSON_DETECTOR.NAME", "mine"), graft_boxes.find_videos(place / "films")
    first = graft_boxes.collect_boxes(cfg, videos, 5.0, tmp_path, lambda name, items, total: items)
    # 60 frames at 25 a second: the last one is at 2.36 s.
    assert sorted(time for video, time in first if video == "a") == [round(i / 5, 3) for i in range(12)]
    assert detector.seen == len(first) == 24
    np.testing.assert_allclose(first["b", 1.0].boxes, [[0, 0, 0.5, 1]], atol=1e-3)
    again = graft_boxes.collect_boxes(cfg, videos, 5.0, tmp_path, lambda name, items, total: items)
    assert detector.seen == 24 and again.keys() == first.keys()
    graft_boxes.collect_boxes(cfg, videos, 1.0, tmp_path, lambda name, items, total: items)
    assert detector.seen == 24 + 6


def test_mistakes_are_one_line(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.csv").write_text("a,0\nb,1\n")
    (tmp_path / "others.csv").write_text("c,0,0.2,0.1,0.6,0.9,,0.95\n")
    state = torch.load(place / "two_stage.pth", weights_only=True)["model"]
    torch.save(
        {"model": {n: v for n, v in state.items() if "classifier" not in n}}, tmp_path / "headless.pth"
    )
    line, output = arguments(place, tmp_path / "out"), ["--output", str(tmp_path / "out")]
    cases = [
        (["--videos", str(tmp_path / "none")], "is no folder"),
        (["--videos", str(tmp_path / "empty")], "holds no video"),
        (["--persons", "csv"], "expected NAME:MODEL"),
        (["--persons", f"csv:{tmp_path / 'none.csv'}"], "nobody was found on 2 key frames"),
        (["--persons", f"csv:{tmp_path / 'others.csv'}"], "compare their names"),
        (["--iterations", "0"], "give 1 or more"),
        (["--person-score", "2"], "give 0 to 1"),
        (["--weights", str(tmp_path / "headless.pth")], "2 tensors of the action head are not in it"),
        (["--weights", str(tmp_path / "nowhere.pth")], "is no file"),
    ]
    for more, text in cases:
        at = line.index("--opts")
        with pytest.raises(SystemExit) as stopped:
            run([*line[:at], *more, *output, *line[at:]])
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert stopped.value.code == 2 and error.startswith("error: ") and text in error, (more, error)
    assert not (tmp_path / "out" / "model_final.pth").exists()
    with pytest.raises(UserError, match="--weights"):
        trained_parts(one_network(tiny_cfg(*TWO_STAGE)))
