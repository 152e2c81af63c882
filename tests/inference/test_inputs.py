"""What people give to the tools: folders, patterns, standard input, parts of a film."""

from __future__ import annotations

import importlib
import io
import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from numbered_video import read_number, write_numbered_video
from tiny import CONFIG, EAGER, ROOT, SMALLER, tiny_cfg

from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.batch import worker_setup
from mestad_d2.inference.batch.jobs import read_list
from mestad_d2.inference.inputs import find_inputs
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.results.outputs import write_video
from mestad_d2.inference.speed.modes import SpeedMode
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import _place_before, iterate_frames


@pytest.fixture
def clips(tmp_path: Path, monkeypatch) -> Path:
    """Empty files: two videos, one in a folder below, frames of a third, and a note."""
    monkeypatch.chdir(tmp_path)
    names = ("clips/b.MP4", "clips/a.mkv", "clips/day/c.mp4", "clips/notes.txt", "clips/.hidden.mp4")
    for name in (*names, "frames/1.jpg", "frames/2.jpg", "mixed/a.mp4", "mixed/1.png", "odd[1]*.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def stdin(monkeypatch, content: bytes) -> None:
    """Let standard input be these bytes."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("clips", ["clips/a.mkv", "clips/b.MP4"]),
        ("clips/", ["clips/a.mkv", "clips/b.MP4"]),
        ("frames", ["frames"]),
        ("clips/*.mkv", ["clips/a.mkv"]),
        ("clips/*", ["clips/a.mkv", "clips/b.MP4", "clips/day/c.mp4"]),
        ("clips/**/*.mp4", ["clips/day/c.mp4"]),
        ("clips/**", ["clips/a.mkv", "clips/b.MP4", "clips/day/c.mp4"]),
        ("[cf]*s", ["clips/a.mkv", "clips/b.MP4", "frames"]),
        # A file whose name looks like a pattern, one that is not there, and a camera stand for themselves.
        ("odd[1]*.mp4", ["odd[1]*.mp4"]),
        ("no.mp4", ["no.mp4"]),
        ("camera:0", ["camera:0"]),
    ],
)
def test_what_inputs_stand_for(clips: Path, given: str, expected: list[str]) -> None:
    assert find_inputs([given]) == expected
    assert find_inputs([given, "no.mp4"]) == [*expected, "no.mp4"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mixed", "mixed: holds 1 video (a.mp4) and 1 picture"),
        ("m*", "mixed: holds 1 video"),
        ("clips/*.avi", "no video matches this pattern;"),
        ("clips/*.txt", "no video matches this pattern; 1 other files do"),
    ],
)
def test_what_is_refused_in_one_line(clips: Path, given: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        find_inputs([given])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_lists_on_standard_input(clips: Path, monkeypatch) -> None:
    lines = "\ufeffclips/day\r\n# old\n\n frames \nno.mp4"
    expected = ["clips/day/c.mp4", "frames", "no.mp4"]
    stdin(monkeypatch, lines.encode())
    assert find_inputs(["clips/a.mkv", "-"]) == ["clips/a.mkv", *expected]
    stdin(monkeypatch, f"{lines}\nclips/day/c.mp4\n{clips}/clips/day".encode())
    assert read_list("-") == expected
    (clips / "list.txt").write_text(lines)
    assert read_list("list.txt") == expected
    for content, said in ((b"\n# x\n", "no video"), (b"\xff\xfe", "UTF-8"), (b"a.mp4\n-\n", "a line is '-'")):
        stdin(monkeypatch, content)
        with pytest.raises(UserError, match=f"standard input: .*{said}"):
            find_inputs(["-"])


def test_folders_that_nobody_may_read(clips: Path, monkeypatch) -> None:
    def refuse(folder: str) -> list[str]:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match="clips: can't be read"):
        find_inputs(["clips"])


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"g": "30", "bf": "2"}),
        ("a.mkv", "libx264", {"g": "50", "bf": "2", "x264-params": "open-gop=1"}),
        ("a.ts", "libx264", {"g": "25", "bf": "2"}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_windows_hold_the_films_own_frames(tmp_path: Path, name: str, codec: str, options: dict) -> None:
    write_numbered_video(tmp_path / name, 200, Fraction(10), codec=codec, **options)
    source = open_source(tmp_path / name)
    whole = [(frame.time, read_number(frame.image)) for frame in iterate_frames(source)]
    assert len(whole) == 200
    for begin, end in ((0.0, 1.0), (2.3, 2.5), (12.0, 13.7), (15.35, float("inf")), (19.9, 30.0)):
        part = [
            (frame.time, read_number(frame.image)) for frame in iterate_frames(source.between(begin, end))
        ]
        assert part == [(time, n) for time, n in whole if begin - 1e-6 <= time < end - 1e-6]
    # Far into the film nothing before is decoded.
    assert _place_before(source.between(15.0, 16.0)) is not None
    with pytest.raises(UserError, match="nothing from 20 s on, it ends at 20.00 s"):
        source.between(20.0, 30.0)


def test_the_annotated_window_begins_with_it(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "a.mp4", 60, Fraction(10))
    source = open_source(tmp_path / "a.mp4").between(2.0, 3.5)
    write_video(tmp_path / "out.mp4", source, [], ActionNames({}), 0.5)
    frames = list(iterate_frames(tmp_path / "out.mp4"))
    assert [read_number(frame.image) for frame in frames] == list(range(20, 35))
    assert np.allclose([frame.time for frame in frames], np.arange(15) / 10, atol=1e-3)


@pytest.mark.parametrize("mode", ["clip", "pass"])
def test_start_and_end_of_the_demo(tmp_path: Path, monkeypatch, capfd, mode: str) -> None:
    from detectron2.modeling import build_model

    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    demo = importlib.import_module("demo")
    model = build_model(tiny_cfg(*EAGER)).eval()
    monkeypatch.setattr(demo, "VideoPredictor", lambda cfg, speed, **kw: VideoPredictor(cfg, model, **kw))
    write_numbered_video(tmp_path / "a.mp4", 160, Fraction(10))

    def run(*flags: object) -> int:
        known = (
            "--config-file",
            CONFIG,
            "--person-threshold",
            0,
            "--mode",
            mode,
            "--input",
            tmp_path / "a.mp4",
        )
        return demo.main(demo.parse([str(flag) for flag in (*known, *flags, "--opts", *SMALLER)]))

    def people(output: Path) -> dict[float, list]:
        found = [json.loads(line) for line in (output / "a.jsonl").read_text().splitlines()]
        return {
            line["timestamp"]: [(p["box"], p["score"], p["actions"]) for p in line["people"]]
            for line in found
        }

    assert run("--output", tmp_path / "whole") == 0
    assert run("--output", tmp_path / "part", "--start", 11.5, "--end", 14) == 0
    whole, part = people(tmp_path / "whole"), people(tmp_path / "part")
    # In mode "pass" key frames are on a grid of its own.
    assert [round(time) for time in part] == [12, 13] and set(part) <= set(whole)
    if mode == "clip":
        assert part == {time: whole[time] for time in part}
    assert len(list(iterate_frames(tmp_path / "part" / "a.mp4"))) == 25
    capfd.readouterr()
    assert run("--output", tmp_path / "late", "--start", 16) == 2
    assert "a.mp4: nothing from 16 s on" in capfd.readouterr().err
    # A folder that was made for nothing is gone; the user's own stays.
    assert not (tmp_path / "late").exists()
    (tmp_path / "own").mkdir()
    assert run("--output", tmp_path / "own", "--start", 16) == 2 and (tmp_path / "own").is_dir()
    assert run("--output", tmp_path / "second", "--stream", 1) == 2
    assert "a.mp4: no picture stream 1, there are 1" in capfd.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run("--output", tmp_path / "turned", "--start", 3, "--end", 2)
    assert capfd.readouterr().err.count("\n") == 1 and not (tmp_path / "turned").exists()


def test_sound_of_a_window(tmp_path: Path) -> None:
    # Silence for 3 s, then a tone.
    rate, path = 16000, tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        video, sound = out.add_stream("mpeg4", rate=10), out.add_stream("aac", rate=rate)
        video.width, video.height, video.pix_fmt, sound.layout = 160, 64, "yuv420p", "mono"
        tone = np.where(np.arange(6 * rate) < 3 * rate, 0, 0.5 * np.sin(np.arange(6 * rate) / 5)).astype(
            np.float32
        )
        for index in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((64, 160, 3), index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            out.mux(video.encode(frame))
            part = tone[None, index * rate // 10 : (index + 1) * rate // 10]
            heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="mono")
            heard.rate, heard.pts, heard.time_base = rate, index * rate // 10, Fraction(1, rate)
            out.mux(sound.encode(heard))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    write_video(tmp_path / "out.mp4", open_source(path).between(2.0, 4.5), [], ActionNames({}), 0.5)
    with av.open(str(tmp_path / "out.mp4")) as made:
        parts = [(frame.time, frame.to_ndarray()) for frame in made.decode(audio=0)]
    heard = [time for time, samples in parts if np.abs(samples).max() > 0.2]
    assert min(heard) == pytest.approx(1.0, abs=0.15) and max(heard) == pytest.approx(2.5, abs=0.15)


def test_start_and_end_of_many_videos(tmp_path: Path, monkeypatch) -> None:
    from detectron2.modeling import build_model

    model = build_model(tiny_cfg(*EAGER)).eval()
    monkeypatch.setattr(
        worker_setup, "VideoPredictor", lambda cfg, speed, **kw: VideoPredictor(cfg, model, **kw)
    )
    write_numbered_video(tmp_path / "a.mp4", 160, Fraction(10))
    whole = worker_setup.WorkerSetup(tiny_cfg(), ActionNames({}), SpeedMode(), 1.0, 0.0, 0.0, 1)
    part = replace(whole, start=12.0, end=14.0)
    lines = part(0)(str(tmp_path / "a.mp4")).decode().splitlines()
    assert [json.loads(line)["timestamp"] for line in lines] == [12, 13]
    assert part.settings() == {**whole.settings(), "window": "12 to 14 s"} != whole.settings()
