"""Pictures of what the model sees: every source gives them, and boxes lie where they should."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from loading import load_script
from numbered_video import write_numbered_video
from tiny import ROOT

from mestad_d2.inference.results.drawing import track_color


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/visualize_data.py")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one video with six key frames."""
    root = tmp_path_factory.mktemp("data")
    (root / "v" / "sub").mkdir(parents=True)
    write_numbered_video(root / "v" / "sub" / "a.mp4", 100, Fraction(12))
    rows = [f"sub/a,{second},0.1,0.2,0.5,0.9,{1 + second % 2},-1\n" for second in range(1, 7)]
    (root / "gt.csv").write_text("".join(rows))
    (root / "map.txt").write_text("1: sit\n2: stand\n")
    entry = f"NAME: seen, VIDEOS: {root / 'v'}, ANNOTATIONS: {root / 'gt.csv'}, LABEL_MAP: {root / 'map.txt'}"
    (root / "c.yaml").write_text(
        f'_BASE_: "{ROOT / "configs" / "Base-tiny.yaml"}"\nMODEL: {{ROI_ACTION_HEAD: {{NUM_CLASSES: 2}}}}\n'
        f'DATASETS:\n  CUSTOM: [{{{entry}}}]\n  TRAIN: ("seen",)\nINPUT: {{MIN_SIZE_TRAIN: [64], MIN_SIZE_TEST: 64}}\n'
    )
    return root / "c.yaml"


@pytest.mark.parametrize("source", ["annotation", "dataloader", "unlabeled"])
def test_each_source_gives_pictures(tool: ModuleType, config: Path, tmp_path: Path, source: str) -> None:
    flags = ["--config-file", str(config), "--source", source, "--output", str(tmp_path), "--number", "3"]
    tool.main([*flags, "DATALOADER.NUM_WORKERS", "0"])
    files = sorted(tmp_path.glob(f"{source}_*_sub_a_*.png"))
    assert len(files) == len(list(tmp_path.iterdir())) == 3
    assert all(cv2.imread(str(path)).std() > 10 for path in files)


def test_boxes_lie_where_they_should(tool: ModuleType) -> None:
    instances = Instances((96, 160))
    instances.gt_boxes = Boxes(torch.tensor([[16.0, 24, 48, 72], [96, 24, 144, 84]]))
    instances.gt_actions = torch.tensor([[1.0, 0], [1, 1]])
    instances.gt_person_ids = torch.tensor([-1, -1])
    item = {"clip": torch.full((3, 8, 96, 160), 128, dtype=torch.uint8), "instances": instances}
    image = tool.picture(item, {1: "sit"}).astype(int)
    # Enlarged five times; below it the clip's eight frames in one row.
    assert image.shape == (5 * 96 + 60, 5 * 160, 3)
    for number, box in enumerate(instances.gt_boxes.tensor.tolist()):
        near = np.abs(image[:480] - np.array(track_color(number))).max(axis=2) < 40
        x1, y1, x2, y2 = (round(5 * value) for value in box)
        # The lower corners are free of labels, which may cover the upper ones.
        assert near[y2 - 2 : y2 + 3, (x1 + x2) // 2].any() and near[(y1 + y2) // 2, x1 - 2 : x1 + 3].any()
        assert near[(y1 + y2) // 2, x2 - 2 : x2 + 3].any()


def test_people_without_a_number_are_told_apart(tool: ModuleType) -> None:
    instances = Instances((10, 10))
    instances.gt_boxes = Boxes(torch.tensor([[0.0, 0, 1, 1]] * 3))
    instances.gt_actions = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    instances.gt_person_ids = torch.tensor([-1, -1, 7])
    people = tool.people(instances, {1: "sit"}, (2.0, 3.0), "r ")
    assert [p.track_id for p in people] == [0, 1, 7]
    assert [[name for name, _ in p.actions] for p in people] == [["r sit"], ["r 2"], ["r sit", "r 2"]]
    assert people[0].box.tolist() == [0, 0, 2, 3]


def test_no_data_is_one_line(tool: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        tool.main(["--config-file", str(ROOT / "configs" / "Base-tiny.yaml"), "--output", str(tmp_path)])
    assert capsys.readouterr().err.count("\n") == 1
