"""What is written of a detected video can be read back and says the same."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_video import write_numbered_video

from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.results.drawing import Annotator, NamedPerson, short_name
from mestad_d2.inference.results.outputs import (
    between,
    filter_by_score,
    write_csv,
    write_json,
    write_strip,
    write_video,
)
from mestad_d2.people import People

NAMES = ActionNames({1: "stand", 2: "walk"})


def keyframe(time: float, x: float, track: int = 1) -> People:
    """One person at ``x`` who stands (0.9) and perhaps walks (0.2)."""
    return People(
        time, np.array([[x, 10, x + 20, 50]], np.float32), np.array([0.8]), np.array([[0.9, 0.2]]),
        np.array([track]), 64, 160,
    )  # fmt: skip


@pytest.fixture
def video(tmp_path: Path) -> str:
    """Two seconds of numbered frames."""
    write_numbered_video(tmp_path / "v.mp4", 50, Fraction(25))
    return str(tmp_path / "v.mp4")


def test_csv_by_hand(tmp_path: Path) -> None:
    write_csv(tmp_path / "d.csv", "clip", [keyframe(1.5, 16)], threshold=0.1)
    # As AVA's own files, lines end without a carriage return, which would stick to the score.
    assert (tmp_path / "d.csv").read_bytes().splitlines(keepends=True) == [
        b"clip,1.500,0.1000,0.1562,0.2250,0.7812,1,0.9000\n",
        b"clip,1.500,0.1000,0.1562,0.2250,0.7812,2,0.2000\n",
    ]


def test_csv_holds_no_formula(tmp_path: Path) -> None:
    for name, cell in (("=1+1", "'=1+1"), ("-5KQ66BBWC4", "-5KQ66BBWC4")):
        write_csv(tmp_path / "d.csv", name, [keyframe(1.5, 16)], threshold=0.5)
        assert (tmp_path / "d.csv").read_text().startswith(cell + ",1.500,")


def test_json_holds_what_is_above_the_threshold(tmp_path: Path) -> None:
    write_json(tmp_path / "d.json", "clip", [keyframe(0, 16), keyframe(1, 30)], NAMES, threshold=0.5)
    data = json.loads((tmp_path / "d.json").read_text())
    assert [k["timestamp"] for k in data["key_frames"]] == [0, 1]
    assert data["key_frames"][0]["people"][0]["actions"] == [{"name": "stand", "score": 0.9}]


def test_video_has_every_frame_and_its_length(tmp_path: Path, video: str) -> None:
    write_video(tmp_path / "out.mp4", video, [keyframe(0, 16), keyframe(1, 100)], NAMES, 0.5)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = [(f.time, f.height, f.width) for f in container.decode(video=0)]
    assert len(frames) == 50
    assert frames[-1][0] == pytest.approx(49 / 25, abs=0.01)
    assert frames[0][1] % 2 == 0 and frames[0][1] >= 480


def test_a_pause_of_a_night_and_a_drawing_that_is_stopped(tmp_path: Path) -> None:
    times = [*(i / 25 for i in range(10)), *(36000 + i / 25 for i in range(10))]
    write_numbered_video(tmp_path / "v.mkv", 20, Fraction(25), times=times)
    write_video(tmp_path / "out.mp4", str(tmp_path / "v.mkv"), [], NAMES, 0.5)
    with av.open(str(tmp_path / "out.mp4")) as file:
        shown = [frame.time for frame in file.decode(video=0)]
    missing = [t for t in times if min(abs(t - s) for s in shown) > 2e-3]
    assert not missing and len(shown) == 20 + 9 and shown == sorted(shown)
    before = (tmp_path / "out.mp4").read_bytes()

    def stop(time: float) -> None:
        raise UserError("stopped")

    with pytest.raises(UserError, match="stopped"):
        write_video(tmp_path / "out.mp4", str(tmp_path / "v.mkv"), [], NAMES, 0.5, progress=stop)
    assert (tmp_path / "out.mp4").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"v.mkv", "out.mp4"}


def test_video_and_strip_without_any_person(tmp_path: Path, video: str) -> None:
    nobody = filter_by_score(keyframe(0, 16), 0.99)
    assert len(nobody.boxes) == 0
    write_video(tmp_path / "out.mp4", video, [nobody], NAMES, 0.5)
    write_strip(tmp_path / "out.png", video, [nobody], NAMES, 0.5)
    assert (tmp_path / "out.png").stat().st_size > 0


def test_boxes_move_between_key_frames_of_one_track_only() -> None:
    np.testing.assert_allclose(between(keyframe(0, 10), keyframe(1, 50), 0.25)[0], [20, 10, 40, 50])
    np.testing.assert_allclose(between(keyframe(0, 10), keyframe(1, 50, track=2), 0.25)[0], [10, 10, 30, 50])


def test_labels_do_not_cover_each_other() -> None:
    people = [
        NamedPerson(np.array([200.0 + 8 * i, 100, 300 + 8 * i, 400]), 0.9, i, [("stand", 0.9)])
        for i in range(5)
    ]
    blank = np.zeros((480, 640, 3), np.uint8)
    annotator = Annotator()
    drawn = annotator.draw(blank.copy(), people)
    assert (drawn != 0).any()
    corners = [
        (p.box[0] + annotator._offsets[p.track_id][0], p.box[1] + annotator._offsets[p.track_id][1])
        for p in people
    ]
    assert len({(round(float(x)), round(float(y))) for x, y in corners}) == 5


def test_long_names_are_cut_and_short_ones_kept() -> None:
    assert short_name("carry/hold (an object)") == "carry/hold (an object)"
    cut = short_name("talk to (e.g., self, a person, a group)")
    assert cut == "talk to (e.g., self, a pe\u2026" and len(cut) == 26
