"""tools/demo.py: what it leaves of files, folders and cameras."""

from __future__ import annotations

import importlib
import json
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import pytest
from numbered_video import numbered_frame, read_number, write_index_first, write_numbered_video
from PIL import Image
from tiny import CONFIG, EAGER, ROOT, SMALLER, tiny_cfg

from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.tubes.cutting import CutSettings
from mestad_d2.video.output.writer import recording_to


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool, with a model of random weights instead of loaded ones."""
    from detectron2.modeling import build_model

    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("demo")
    model = build_model(tiny_cfg(*EAGER)).eval()
    monkeypatch.setattr(tool, "VideoPredictor", lambda cfg, speed, **kw: VideoPredictor(cfg, model, **kw))
    return tool


def run(demo: ModuleType, output: Path, *arguments: object, opts: tuple = ()) -> int:
    """Run the tool in this process."""
    flags = ["--config-file", CONFIG, "--output", output, "--person-threshold", 0, *arguments]
    return demo.main(demo.parse([str(v) for v in (*flags, "--opts", *SMALLER, *opts)]))


class FakeCamera:
    """40 numbered frames, then it is unplugged."""

    def __init__(self, number: int) -> None:
        self.left = 40 if number == 0 else 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.left:
            return False, None
        self.left -= 1
        return True, numbered_frame(39 - self.left)[..., ::-1]

    def release(self) -> None:
        pass


def test_equal_names_and_names_with_dots_stay_apart(demo: ModuleType, tmp_path: Path, capfd) -> None:
    videos = [tmp_path / "a" / "x.1.mp4", tmp_path / "b" / "x.1.mp4", tmp_path / "x.2.mp4"]
    for video in videos:
        video.parent.mkdir(exist_ok=True)
        write_numbered_video(video, 30, Fraction(20))
    (tmp_path / "text.mp4").write_text("hello")
    output = tmp_path / "out"
    assert run(demo, output, "--input", *videos, tmp_path / "text.mp4", "--keyframes-per-second", 2) == 2
    errors = capfd.readouterr().err
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert "text.mp4: no video that can be read" in line and "Traceback" not in errors and " fps" in errors
    expected = {
        f"{s}{e}" for s in ("x.1", "x.1_2", "x.2") for e in (".mp4", ".csv", ".json", ".jsonl", ".png")
    }
    assert {path.name for path in output.iterdir()} == expected
    lines = [json.loads(line) for line in (output / "x.1_2.jsonl").read_text().splitlines()]
    assert [line["timestamp"] for line in lines] == [0, 0.5, 1.0]
    assert all(len(line["people"]) > 0 for line in lines)
    whole = json.loads((output / "x.1_2.json").read_text())["key_frames"]
    assert [line["people"] for line in lines] == [keyframe["people"] for keyframe in whole]
    with Image.open(output / "x.2.png") as strip, av.open(str(output / "x.2.mp4")) as video:
        stream = video.streams.video[0]
        # Three key frames in a row, with rims and captions.
        assert 0 < strip.width - 3 * stream.width < 100 and 0 < strip.height - stream.height < 100


def test_a_video_without_its_end_fails_and_leaves_what_is_there(
    demo: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    whole, part = tmp_path / "whole.mp4", tmp_path / "part.mp4"
    write_numbered_video(tmp_path / "v.mp4", 100, Fraction(25))
    write_index_first(tmp_path / "v.mp4", whole)
    content = whole.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    output = tmp_path / "out"
    assert run(demo, output, "--input", whole, "--keyframes-per-second", 1) == 0
    assert run(demo, output, "--input", part, "--keyframes-per-second", 1) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert "part.mp4" in line and "the results are of what is there" in line
    times = [json.loads(row)["timestamp"] for row in (output / "part.jsonl").read_text().splitlines()]
    assert times == list(range(len(times)))
    assert 0 < len(times) < len((output / "whole.jsonl").read_text().splitlines())


def test_folder_of_frames_keeps_its_speed(demo: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "frames.v1").mkdir()
    for index in range(24):
        cv2.imwrite(str(tmp_path / "frames.v1" / f"{index}.png"), numbered_frame(index))
    output = tmp_path / "out"
    assert run(demo, output, "--input", tmp_path / "frames.v1", opts=("INPUT.CLIP.FPS", 12.0)) == 0
    with av.open(str(output / "frames.v1.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert np.allclose(times, np.arange(24) / 12, atol=0.002)


def test_camera_is_recorded_and_detected(demo: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    assert run(demo, tmp_path / "out", "--webcam", 0, "--seconds", 60, "--score-threshold", 1) == 0
    for name in ("camera0_recording.mp4", "camera0.mp4"):
        with av.open(str(tmp_path / "out" / name)) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(frames) == 40
        if "recording" in name:
            assert [read_number(frame) for frame in frames] == list(range(40))
    assert len((tmp_path / "out" / "camera0.jsonl").read_text().splitlines()) >= 1


def test_a_recording_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "camera0_recording.mp4"
    path.write_bytes(b"of yesterday")
    with pytest.raises(RuntimeError, match="unplugged"), recording_to(path) as writer:
        writer.write(0.0, numbered_frame(0))
        raise RuntimeError("unplugged")
    assert path.read_bytes() == b"of yesterday" and [p.name for p in tmp_path.iterdir()] == [path.name]
    with recording_to(path) as writer:
        writer.write(0.0, numbered_frame(3))
        assert path.read_bytes() == b"of yesterday"
    with av.open(str(path)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 1 and len(list(tmp_path.iterdir())) == 1


def test_no_camera_is_one_line_and_leaves_nothing(
    demo: ModuleType, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with pytest.raises(SystemExit) as end:
        run(demo, tmp_path / "out", "--webcam", 7)
    assert end.value.code == 2 and "camera:7: no picture" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_input_it_says_what_to_give(demo: ModuleType, tmp_path: Path, capfd) -> None:
    with pytest.raises(SystemExit):
        run(demo, tmp_path / "out")
    assert "give --input or --webcam" in capfd.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"hello, no video"])
def test_what_is_no_video_is_one_line(demo: ModuleType, tmp_path: Path, capfd, content: bytes | None) -> None:
    video = tmp_path / "x.mp4"
    if content is not None:
        video.write_bytes(content)
    assert run(demo, tmp_path / "out", "--input", video) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "Warning" not in line]
    assert line.startswith(f"error: {video}: no ") and not (tmp_path / "out").exists()


def test_output_that_cannot_be_written_is_one_line(demo: ModuleType, tmp_path: Path, capfd) -> None:
    write_numbered_video(tmp_path / "x.mp4", 10, Fraction(20))
    with pytest.raises(SystemExit) as end:
        run(demo, tmp_path / "x.mp4", "--input", tmp_path / "x.mp4")
    assert end.value.code == 2 and f"error: {tmp_path / 'x.mp4'}: can't be written" in capfd.readouterr().err
    # Only one of the files, found out at the end: the other inputs go on.
    (tmp_path / "out" / "x.mp4").mkdir(parents=True)
    write_numbered_video(tmp_path / "y.mp4", 10, Fraction(20))
    assert run(demo, tmp_path / "out", "--input", tmp_path / "x.mp4", tmp_path / "y.mp4") == 2
    assert f"error: {tmp_path / 'out' / 'x.mp4'}: is a folder" in capfd.readouterr().err
    assert (tmp_path / "out" / "y.mp4").stat().st_size > 0


def test_inputs_are_never_written(demo: ModuleType, tmp_path: Path, capfd) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_numbered_video(tmp_path / folder / "x.mp4", 10, Fraction(20))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.mp4")}
    inputs = [tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4"]
    for output, given in ((tmp_path / "a", inputs[:1]), (tmp_path / "b", inputs)):
        with pytest.raises(SystemExit, match="2"):
            run(demo, output, "--input", *given)
        assert "would overwrite the input" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("mode", ["clip", "pass"])
def test_no_key_frames_in_a_pause_of_the_recording(demo: ModuleType, tmp_path: Path, mode: str) -> None:
    """Two seconds, nothing for a minute, two seconds."""
    times = [*(i / 25 for i in range(50)), *(60 + i / 25 for i in range(50))]
    write_numbered_video(tmp_path / "x.mp4", 100, Fraction(25), times=times)
    assert run(demo, tmp_path / "out", "--input", tmp_path / "x.mp4", "--mode", mode) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "x.jsonl").read_text().splitlines()]
    found = [line["timestamp"] for line in lines]
    assert {0.0, 1.0, 60.0, 61.0} <= {round(time) for time in found}
    assert all(min(abs(time - t) for t in times) < 0.5 for time in found)


def test_a_file_of_boxes_beside_the_results_stays(demo: ModuleType, tmp_path: Path, capfd) -> None:
    """Other key frames than those of the file do not thin it."""
    write_numbered_video(tmp_path / "x.mp4", 40, Fraction(20))
    boxes = tmp_path / "out" / "x.persons.csv"
    boxes.parent.mkdir()
    boxes.write_text("x,0.500,0.1,0.1,0.5,0.9,,0.9\nx,1.500,0.1,0.1,0.5,0.9,,0.9\n")
    before = boxes.read_bytes()
    flags = ["--persons", f"csv:{boxes}", "--input", tmp_path / "x.mp4"]
    assert run(demo, boxes.parent, *flags) == 0
    assert boxes.read_bytes() == before


def test_tubes_on_request(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The scores of random weights are too small for an action.
    monkeypatch.setattr(CutSettings, "at_rate", classmethod(lambda cls, rate: cls(1, 0.5, 0.0, 1, 1)))
    write_numbered_video(tmp_path / "x.mp4", 40, Fraction(20))
    flags = ["--input", tmp_path / "x.mp4", "--keyframes-per-second", 5, "--tubes", "--score-threshold", 0]
    assert run(demo, tmp_path / "out", *flags) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"x_tubes.csv", "x_tubes.json", "x_tubes.png"} <= names
    tubes = json.loads((tmp_path / "out" / "x_tubes.json").read_text())["tubes"]
    people = json.loads((tmp_path / "out" / "x.json").read_text())["key_frames"]
    assert tubes
    for tube in tubes:
        assert 0 <= tube["start"] <= tube["end"] <= people[-1]["timestamp"]
        times = [box["timestamp"] for box in tube["boxes"]]
        assert times == sorted(set(times)) and times[0] == tube["start"] and times[-1] == tube["end"]
