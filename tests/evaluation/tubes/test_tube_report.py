"""The report page of tubes and the tool's one-line errors."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mestad_d2.formats.tubes.csv_files import write_tubes
from mestad_d2.formats.tubes.records import Tubes, tubes_of
from tools.evaluate_tubes import main

BOX = np.array([[10.0, 10, 60, 90]])


def tubes(*rows: tuple[int, int, float, int, int]) -> Tubes:
    parts = [(v, c, s, np.arange(a, b + 1), np.repeat(BOX, b - a + 1, 0)) for v, c, s, a, b in rows]
    return tubes_of(("v<1>", "v2"), parts)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    write_tubes(tmp_path / "gt.csv", tubes((0, 0, 1, 1, 20), (1, 1, 1, 5, 40), (1, 0, 1, 1, 10)))
    write_tubes(tmp_path / "det.csv", tubes((0, 0, 0.9, 1, 20), (1, 1, 0.8, 30, 60), (1, 0, 0.7, 50, 70)))
    videos = [{"name": name, "nframes": 70, "height": 100, "width": 100} for name in ("v<1>", "v2")]
    (tmp_path / "case.json").write_text(json.dumps({"classes": ["run & jump", "sit"], "videos": videos}))
    return ["--groundtruth", f"{tmp_path}/gt.csv", "--detections", f"{tmp_path}/det.csv"]


def test_page(files: list[str], tmp_path: Path) -> None:
    main(
        [
            *files,
            "--case",
            f"{tmp_path}/case.json",
            "--report",
            f"{tmp_path}/page",
            "--output",
            f"{tmp_path}/j.json",
        ]
    )
    page = (tmp_path / "page" / "index.html").read_text()
    figures = json.loads((tmp_path / "j.json").read_text())
    assert figures["video_mAP"]["0.5"] == {"mean": 0.25, "per_class": {"0": 0.5, "1": 0.0}}
    assert "video-mAP 25.0 (ours)" in page and "run &amp; jump" in page
    assert (
        "v<1>" not in page and "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    )
    # The longest miss is first: frames 5 to 40 of 70, and the tube that came nearest.
    first = page[page.index("Worst misses") :]
    assert first.index("frames 5 to 40") < first.index("frames 1 to 10")
    ribbon = re.search(r'<rect x="([\d.]+)" y="8" width="([\d.]+)"', first)
    assert (
        ribbon
        and abs(float(ribbon[2]) - 36 / 70 * 304) < 0.1
        and abs(float(ribbon[1]) - (8 + 4 / 70 * 304)) < 0.1
    )
    assert "best: IoU 0.20, score 0.80" in first


def test_errors_say_the_row(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = list(csv.reader(open(tmp_path / "det.csv")))
    changes = {
        "row 3: frame must be a whole number": (2, 3, "1.5"),
        "row 4: x1 'ten' is no number": (3, 4, "ten"),
        "row 2: the score of a tube": None,
        "row 5: this frame of the tube was given before": (4, 3, "2"),
        "row 3: x1, y1, x2, y2 must be finite": (2, 5, "inf"),
        "has 2 classes": (1, 1, "7"),
    }
    for words, change in changes.items():
        if change is None:
            continue
        broken = [list(row) for row in rows]
        broken[change[0]][change[1]] = change[2]
        if "classes" in words:
            broken = [row if row[:3] != rows[1][:3] else [row[0], "7", *row[2:]] for row in broken]
        with open(tmp_path / "det.csv", "w", newline="") as file:
            csv.writer(file).writerows(broken)
        with pytest.raises(SystemExit) as stop:
            main([*files, "--case", f"{tmp_path}/case.json", "--output", f"{tmp_path}/j.json"])
        assert stop.value.code == 2 and words in capsys.readouterr().err
        assert not (tmp_path / "j.json").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--protocol", "act2"], "protocol 'act2' is unknown"),
        (["--link", "best"], "linker 'best' is unknown"),
        (["--link", "act"], "--link links frame detections"),
        (["--frames", "absent.csv"], "absent.csv: no such file"),
    ],
)
def test_wrong_options(files: list[str], more: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*files, *more])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and words in err and err.count("\n") == 1


def test_compare_lists_every_protocol(files: list[str], capsys: pytest.CaptureFixture) -> None:
    main([*files, "--compare"])
    out = capsys.readouterr().out
    assert all(f"| {name} " in out for name in ("ours", "act", "moc", "multisports", "yowov2", "gurkirt"))


def test_videos_without_truth_count(tmp_path: Path) -> None:
    """Without a list of videos, a detection in another video is a false positive, not an error."""
    write_tubes(tmp_path / "gt.csv", tubes((0, 0, 1, 1, 20)))
    write_tubes(tmp_path / "det.csv", tubes((1, 0, 0.9, 1, 20), (0, 0, 0.8, 1, 20)))
    main(
        [
            "--groundtruth",
            f"{tmp_path}/gt.csv",
            "--detections",
            f"{tmp_path}/det.csv",
            "--output",
            f"{tmp_path}/j",
        ]
    )
    assert json.loads((tmp_path / "j").read_text())["video_mAP"]["0.5"]["mean"] == 0.5
