"""The tool as people use it, on toy videos of seconds and a network that has learned nothing."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import markupsafe
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from tiny import CONFIG, ROOT, SMALLER, tiny_cfg

from mestad_d2.data.ava import load_ava
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.densify import pipeline as densify_run
from mestad_d2.densify.formats.csv_files import as_line, read_dense_csv

EVIL = '<img src=x onerror="document.title=1"> & "wave"'


def load_tool(name: str):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool("densify")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy dataset, a label map with nasty names, and weights."""
    root = tmp_path_factory.mktemp("densify")
    make_toy(root / "toy", seed=3, videos=2, val_videos=1, seconds=4)
    lines = [f"{i}: {EVIL if i == 1 else f'action {i}'}" for i in range(1, 13)]
    (root / "labels.txt").write_text("\n".join(lines))
    torch.manual_seed(0)
    model = build_model(tiny_cfg())
    torch.save({"model": model.state_dict()}, root / "model.pth")
    return root


def arguments(place: Path, output: Path, *more: object, weights: bool = True) -> list[str]:
    """Command line that labels the training videos of the toy."""
    opts = [*SMALLER, "SEMISUP.TEACHER_SCORE_THRESH", "0.001"]
    opts += ["MODEL.WEIGHTS", place / "model.pth"] if weights else []
    options = ["--config-file", CONFIG, "--annotations", place / "toy/annotations/train.csv", "--videos",
               place / "toy/videos", "--output", output, "--labels", place / "labels.txt", "--rate", 5, *more]  # fmt: skip
    return [str(value) for value in (*options, "--opts", *opts)]


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    """The folder of a finished run with a review."""
    folder = place / "done"
    folder.mkdir()
    TOOL.main(arguments(place, folder / "dense.csv", "--review", folder / "review.html"))
    return folder


def test_the_annotators_rows_come_out_as_they_went_in(place: Path, done: Path) -> None:
    given = (place / "toy/annotations/train.csv").read_bytes()
    assert (done / "dense.csv").read_bytes().startswith(given)
    rows = read_dense_csv(done / "dense.csv")
    new = [row for row in rows if row.confidence is not None]
    assert len(rows) - len(new) == len(given.splitlines()) and new
    assert all(0 <= row.confidence <= 1 for row in new)
    # Between the key frames at whole seconds only, five labels a second.
    assert {round(float(row.timestamp) % 1, 1) for row in new} == {0.2, 0.4, 0.6, 0.8}
    people = {(row.video_id, row.person_id) for row in rows if row.confidence is None}
    assert {(row.video_id, row.person_id) for row in new} <= people


def test_all_formats_have_all_rows(done: Path) -> None:
    rows = read_dense_csv(done / "dense.csv")
    assert len(json.loads((done / "dense.json").read_text())["annotations"]) == len(rows)
    files = sorted((done / "dense.cvat").glob("*.xml"))
    ticks = [
        a for f in files for b in ET.parse(f).getroot().iter("box") if b.get("outside") == "0"
        for a in b.iter("attribute") if ": " in a.get("name") and a.text == "true"
    ]  # fmt: skip
    assert len(files) == 2 and len(ticks) == len(rows)
    assert not (done / "dense.csv.parts").exists()


def test_nothing_is_overwritten_unasked(place: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (done / "dense.csv").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        TOOL.main(arguments(place, done / "dense.csv"))
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and error.count("\n") == 0 and "--overwrite" in error
    TOOL.main(arguments(place, done / "dense.csv", "--overwrite"))
    assert (done / "dense.csv").read_bytes() == before


KILLED = """
import os, signal, sys
sys.path[:0] = {tests!r}
from mestad_d2.densify.formats import outputs
from mestad_d2.densify import pipeline as run
from densify.test_tool import TOOL
calls, real = [], {module}.{name}
def killed(*args, **kwargs):
    calls.append(args)
    if len(calls) == {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
{module}.{name} = killed
TOOL.main({command!r})
"""


@pytest.mark.parametrize(
    ("module", "name", "nth", "written", "again"),
    [("run", "detect", 2, False, ["toy_train_001"]), ("outputs", "write_page", 1, True, [])],
)
def test_a_killed_run_goes_on(
    place: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    module: str, name: str, nth: int, written: bool, again: list[str],
) -> None:  # fmt: skip
    """kill -9 before the second video, and when all but the review is written."""
    command = arguments(place, tmp_path / "dense.csv", "--review", tmp_path / "review.html")
    tests = [str(ROOT / "tests"), str(ROOT)]
    code = KILLED.format(tests=tests, module=module, name=name, nth=nth, command=command)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGKILL
    assert (tmp_path / "dense.csv").exists() == written and not (tmp_path / "review.html").exists()
    watched = []
    real = densify_run.detect

    def notes(predictor, path, times):
        watched.append(Path(path).stem)
        return real(predictor, path, times)

    monkeypatch.setattr(densify_run, "detect", notes)
    TOOL.main(command)
    assert watched == again
    for file in ("dense.csv", "dense.json", "review.html"):
        assert (tmp_path / file).read_bytes() == (done / file).read_bytes()
    with pytest.raises(SystemExit):
        TOOL.main(command)


@pytest.mark.parametrize(
    ("more", "message"),
    [(("--rate", "often"), "--rate often"), (("--rate", "0"), "--rate 0"), (("--max-gap", "0.1"), "--max-gap"),
     (("--videos", "nowhere"), "nowhere"), (("--annotations", "nothing.csv"), "nothing.csv"),
     (("--config-file", "no.yaml"), "no.yaml")],
)  # fmt: skip
def test_mistakes_are_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple, message: str
) -> None:
    with pytest.raises(SystemExit):
        TOOL.main(arguments(place, tmp_path / "dense.csv", *more))
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and message in errors[0]


def test_corrected_labels_come_back_as_training_data(place: Path, done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corrected"
    folder.mkdir()
    for file in (done / "dense.cvat").glob("*.xml"):
        tree = ET.parse(file)
        for number, box in enumerate(tree.getroot().iter("box")):
            if number == 3:  # somebody moves a box and ticks another action
                box.set("xbr", str(float(box.get("xbr")) + 5))
                next(a for a in box.iter("attribute") if ": " in a.get("name")).text = "true"
        tree.write(folder / file.name)
    command = ["--corrected", folder, "--annotations", done / "dense.csv", "--videos", place / "toy/videos"]
    TOOL.main([*map(str, command), "--output", str(tmp_path / "train.csv"), "--min-confidence", "0"])
    before, after = read_dense_csv(done / "dense.csv"), read_dense_csv(tmp_path / "train.csv")
    changed = {(r.video_id, r.timestamp, r.person_id, r.action_id, r.box) for r in after}
    changed -= {(r.video_id, r.timestamp, r.person_id, r.action_id, r.box) for r in before}
    assert 2 <= len(changed) <= 8
    dicts = load_ava(str(place / "toy/videos"), str(tmp_path / "train.csv"), start=0.0)
    assert len(dicts) == len({(r.video_id, r.timestamp) for r in before})
    with pytest.raises(SystemExit) as stopped:
        TOOL.main([*map(str, command), "--output", str(tmp_path / "train.csv")])
    assert stopped.value.code == 2 and read_dense_csv(tmp_path / "train.csv") == after
    # Few rows of an untrained teacher are sure; key frames and corrected frames stay.
    TOOL.main([*map(str, command), "--output", str(tmp_path / "sure.csv"), "--min-confidence", "1"])
    kept = {(r.video_id, r.timestamp) for r in read_dense_csv(tmp_path / "sure.csv")}
    keys = {(r.video_id, r.timestamp) for r in before if r.confidence is None}
    assert keys <= kept and {(video, time) for video, time, *_ in changed} <= kept


def test_training_first_on_the_sparse_labels(place: Path, tmp_path: Path) -> None:
    quick = ["SOLVER.MAX_ITER", "2", "SOLVER.CHECKPOINT_PERIOD", "1"]
    TOOL.main([*arguments(place, tmp_path / "dense.csv", "--train-first", weights=False), *quick])
    assert (tmp_path / "dense.csv.train" / "model_final.pth").is_file()
    assert read_dense_csv(tmp_path / "dense.csv")


def corrected_first_box(source: Path, folder: Path) -> None:
    """The folder of xml files as CVAT exports them after somebody drew a box anew and ticked action 9 in it."""
    shutil.copytree(source, folder)
    file = folder / "toy_train_000.xml"
    tree = ET.parse(file)
    # The annotators' rows have no confidence; the first box with one lies between key frames.
    box = next(b for b in tree.getroot().iter("box") if attribute(b, "confidence").text)
    for side, value in zip(("xtl", "ytl", "xbr", "ybr"), (16, 32, 80, 96), strict=True):
        box.set(side, str(value))
    for element in box.iter("attribute"):
        if ": " in element.get("name"):
            element.text = "false"
    ticked = next((a for a in box.iter("attribute") if a.get("name").startswith("9: ")), None)
    if ticked is None:
        ticked = ET.SubElement(box, "attribute", name="9: action 9")
    ticked.text = "true"
    tree.write(file)


def attribute(box: ET.Element, name: str) -> ET.Element:
    """An attribute of a box."""
    return next(a for a in box.iter("attribute") if a.get("name") == name)


def test_a_second_round_trains_on_the_corrected_labels(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = ["SOLVER.MAX_ITER", "2", "SOLVER.CHECKPOINT_PERIOD", "2"]
    first, second = tmp_path / "dense.csv", tmp_path / "dense2.csv"
    TOOL.main([*arguments(place, first, "--train-first", weights=False), *quick])
    corrected_first_box(first.with_suffix(".cvat"), tmp_path / "corrected")
    videos = ["--videos", str(place / "toy/videos")]
    TOOL.main(["--corrected", str(tmp_path / "corrected"), "--annotations", str(first), *videos,
               "--output", str(tmp_path / "train2.csv"), "--min-confidence", "0.95"])  # fmt: skip
    seen: list[dict] = []
    weights = tmp_path / "dense.csv.train" / "model_final.pth"
    real = TOOL.build_trainer

    def notes_what_it_trains_on(cfg):
        assert Path(cfg.MODEL.WEIGHTS) == weights
        seen.extend(DatasetCatalog.get(cfg.DATASETS.TRAIN[0]))
        return real(cfg)

    monkeypatch.setattr(TOOL, "build_trainer", notes_what_it_trains_on)
    more = ["--train-first", "--annotations", tmp_path / "train2.csv"]
    TOOL.main([*arguments(place, second, *more, weights=False), *quick, "MODEL.WEIGHTS", str(weights)])
    sparse = load_ava(str(place / "toy/videos"), str(place / "toy/annotations/train.csv"), start=0.0)
    drawn = [
        (item["timestamp"] % 1 > 0, person["action_ids"]) for item in seen for person in item["annotations"]
        if person["bbox"] == pytest.approx([16, 32, 80, 96], abs=0.01)
    ]  # fmt: skip
    assert drawn == [(True, [9])]
    assert {item["image_id"] for item in sparse} < {item["image_id"] for item in seen}
    before, after = (torch.load(path, weights_only=True)["model"] for path in
                     (weights, tmp_path / "dense2.csv.train" / "model_final.pth"))  # fmt: skip
    assert any(not torch.equal(before[name], after[name]) for name in before)
    # The corrected box is an annotator's row now and comes out as it went in.
    assert second.read_bytes().startswith((tmp_path / "train2.csv").read_bytes())


def test_starts_by_video_are_heeded(place: Path, done: Path, tmp_path: Path) -> None:
    """Timestamps that begin at 100 in one video and at 0 in the other give the same rows, moved."""
    given = (place / "toy/annotations/train.csv").read_text().splitlines()
    moved = [_later(line) if line.startswith("toy_train_000,") else line for line in given]
    (tmp_path / "train.csv").write_text("\n".join(moved) + "\n")
    (tmp_path / "starts.csv").write_text("toy_train_000,100\ntoy_train_001,0\n")
    output = tmp_path / "dense.csv"
    options = ["--annotations", tmp_path / "train.csv", "--start", tmp_path / "starts.csv"]
    TOOL.main(arguments(place, output, *options))
    expected = [_later(as_line(r)) if r.video_id == "toy_train_000" else as_line(r)
                for r in read_dense_csv(done / "dense.csv")]  # fmt: skip
    found = [as_line(row) for row in read_dense_csv(output)]
    assert len(found) == len(expected)
    assert [parts(line) for line in found] == [pytest.approx(parts(line), abs=2e-3) for line in expected]


def _later(line: str) -> str:
    video, time, rest = line.split(",", 2)
    return f"{video},{float(time) + 100:.6f},{rest}"


def parts(line: str) -> list[float]:
    """Numbers of a row."""
    return [float(field or -1) for field in line.split(",")[1:]]


def test_dense_labels_are_no_key_frames(
    place: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        TOOL.main(arguments(place, tmp_path / "dense.csv", "--annotations", done / "dense.csv"))
    assert "has a confidence" in capsys.readouterr().err
    assert load_ava(str(place / "toy/videos"), str(done / "dense.csv"), start=0.0)


def test_the_review_shows_the_unsure_first_and_escapes_names(done: Path) -> None:
    text = (done / "review.html").read_text()
    sure = [float(value) for value in re.findall(r'data-sure="([\d.]+)"', text)]
    assert sure == sorted(sure) and len(sure) >= 2
    assert EVIL not in text and str(markupsafe.escape(EVIL)) in text
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_the_review_in_a_browser(done: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is absent")
    browser = Path("/usr/bin/chromium")
    if not browser.is_file():
        pytest.skip("no chromium")
    with api.sync_playwright() as play:
        page = play.chromium.launch(executable_path=str(browser), args=["--no-sandbox"]).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((done / "review.html").as_uri())
        assert page.title() == "Review: uncertain stretches" and not errors
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        for width in (1280, 480):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        card = page.locator("article").first
        assert card.locator("figure").count() >= 3 and "Why to look" in card.inner_text()
