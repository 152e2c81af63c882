"""Our linker: people who are missed, cross or change what they do, and films that never end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.errors import UserError
from mestad_d2.formats.tubes.csv_files import TubeDataset, read_tubes
from mestad_d2.formats.tubes.records import FrameBoxes, VideoInfo, tubes_of
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.tubes.cutting import CutSettings, cut_track, filled
from mestad_d2.inference.tubes.linkers import LINKERS, link
from mestad_d2.inference.tubes.ours import TubeLinker
from mestad_d2.inference.tubes.outputs import write_all
from mestad_d2.inference.tubes.video_tubes import VideoTubes, tubes_of_video
from mestad_d2.people import People
from tools.evaluate_tubes import main

DATASET = TubeDataset(("run", "sit"), (VideoInfo("v", 100, 200, 200),))


def found(*rows: tuple[int, int, float, tuple]) -> FrameBoxes:
    """Rows frame, class, score, box of one video."""
    columns = [np.array([row[i] for row in rows]) for i in range(3)]
    boxes = np.array([row[3] for row in rows], dtype=float)
    return FrameBoxes(("v",), np.zeros(len(rows), int), columns[0], columns[1], columns[2], boxes)


def box(x: float, y: float = 20) -> tuple:
    return (x, y, x + 30, y + 60)


def test_gaps_are_bridged_with_interpolated_boxes() -> None:
    rows = [(f, 0, 0.8, box(2.0 * f)) for f in range(1, 41) if not 15 <= f <= 20]
    tubes = link(found(*rows), DATASET, "ours")
    assert (len(tubes), int(tubes.first[0]), int(tubes.last[0])) == (1, 1, 40)
    np.testing.assert_allclose(tubes.boxes, [box(2.0 * f) for f in range(1, 41)])


def test_an_action_starts_and_ends_with_its_score() -> None:
    rows = [(f, 0, 0.9 if 31 <= f <= 70 else 0.05, box(50)) for f in range(1, 101)]
    rows += [(f, 1, 0.7 if f <= 30 else 0.02, box(50)) for f in range(1, 101)]
    tubes = link(found(*rows), DATASET, "ours")
    spans = {int(c): (int(a), int(b)) for c, a, b in zip(tubes.label, tubes.first, tubes.last, strict=True)}
    assert len(tubes) == 2
    assert (
        np.abs(np.subtract(spans[0], (31, 70))).max() <= 2
        and np.abs(np.subtract(spans[1], (1, 30))).max() <= 2
    )


def test_actors_of_one_class_stay_apart_and_extra_boxes_do_not_matter() -> None:
    rows = []
    for f in range(1, 61):
        rows += [(f, 0, 0.8, box(1.5 * f)), (f, 0, 0.6, box(150 - 1.5 * f, 90))]
        if f % 10 == 0:
            rows.append((f, 0, 0.3, box(160, 100)))
    tubes = link(found(*rows), DATASET, "ours")
    long = tubes.select(np.flatnonzero(tubes.length == 60))
    assert len(long) == 2
    np.testing.assert_allclose(long.boxes[:60], [box(1.5 * f) for f in range(1, 61)])


@given(
    scores=st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=1, max_size=60),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    bridge=st.integers(0, 6),
    least=st.integers(1, 6),
)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_cuts_are_separate_long_enough_and_hold_the_best_frame(scores, share, bridge, least) -> None:
    scores = np.array(scores)
    cuts = cut_track(scores, CutSettings(window=1, share=share, bridge=bridge, least_length=least))
    for label in (0, 1):
        mine = [c for c in cuts if c.label == label]
        for before, after in zip(mine, mine[1:], strict=False):
            assert after.rows.start - before.rows.stop > bridge
        for cut in mine:
            length = cut.rows.stop - cut.rows.start
            assert 0 <= cut.rows.start < cut.rows.stop <= len(scores)
            assert length >= least or length == len(scores)
            ranked = np.sort(scores[cut.rows, label])
            assert cut.score == pytest.approx(ranked[-40:].mean())
        if least == 1 and scores[:, label].max() >= 0.01:
            best = int(scores[:, label].argmax())
            assert any(cut.rows.start <= best < cut.rows.stop for cut in mine)


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(0, 1000))
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_filled_equals_numpy_s_interpolation(frames: set[int], seed: int) -> None:
    frames = np.array(sorted(frames))
    rng = np.random.default_rng(seed)
    boxes, scores = rng.random((len(frames), 4)), rng.random((len(frames), 3))
    whole, b, s = filled(frames, boxes, scores)
    np.testing.assert_array_equal(whole, np.arange(frames[0], frames[-1] + 1))
    for got, given_ in ((b, boxes), (s, scores)):
        wanted = np.stack([np.interp(whole, frames, column) for column in given_.T], axis=1)
        np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_memory_does_not_grow_with_the_film() -> None:
    """Two people who never leave: what is held stays within the limit, and no frame of them is lost."""
    linker, held, tubes = TubeLinker(10, most_frames=200), 0, []
    for frame in range(3000):
        tubes += linker.update(frame, [1, 2], np.array([box(10), box(90)]), np.full((2, 2), 0.5))
        held = max(held, sum(len(track.frames) for track in linker._tracks.values()))
    tubes += linker.finish()
    assert held <= 400
    covered = np.concatenate([tube.frames for tube in tubes if (tube.track_id, tube.label) == (1, 0)])
    np.testing.assert_array_equal(np.sort(covered), np.arange(3000))


def keyframes(count: int, per_second: float) -> list[People]:
    return [
        People(
            i / per_second, np.array([box(10 + i), box(120)]), np.array([0.9, 0.8]),
            np.array([[0.9 if 5 <= i < 15 else 0.01, 0.2], [0.02, 0.7]]), np.array([1, 2]), 200, 200,
        )
        for i in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("per_second", [1.0, 5.0, 25.0])
def test_tubes_of_a_video_have_its_times(per_second: float) -> None:
    tubes = list(tubes_of_video(keyframes(25, per_second), per_second))
    (run,) = [tube for tube in tubes if (tube.track_id, tube.action_id) == (1, 1)]
    assert abs(run.start * per_second - 5) <= 2 and abs(run.end * per_second - 14) <= 2
    (sit,) = [tube for tube in tubes if (tube.track_id, tube.action_id) == (2, 2)]
    assert (sit.start, sit.end, sit.score) == (0, 24 / per_second, pytest.approx(0.7))
    middle = sit.at(np.array([0.5 / per_second]))
    np.testing.assert_allclose(middle, [box(120)])


def test_times_of_finished_tubes_are_forgotten() -> None:
    tubes = VideoTubes(5.0)
    for found_ in keyframes(20, 5.0):
        tubes.update(found_)
    for i in range(20, 200):
        empty = np.empty((0, 4)), np.empty(0), np.empty((0, 2)), np.empty(0, int)
        tubes.update(People(i / 5, *empty, 200, 200))
    assert len(tubes._times) <= 1


def test_files(tmp_path: Path) -> None:
    tubes = list(tubes_of_video(keyframes(25, 5.0), 5.0))
    write_all(tmp_path / "clip.1", tubes, ActionNames({1: "run", 2: "sit"}), 0.5, 20.0, 6.0)
    content = json.loads((tmp_path / "clip.1_tubes.json").read_text())
    assert [(t["action"], t["track_id"]) for t in content["tubes"]] == [("sit", 2), ("run", 1)]
    assert content["tubes"][0]["end"] == 4.8 and len(content["tubes"][0]["boxes"]) == 25
    # The csv has a row for each of the video's 20 frames a second, and the evaluation reads it.
    csv = read_tubes(tmp_path / "clip.1_tubes.csv")
    sit = csv.select(np.flatnonzero((csv.label == 1) & (csv.score > 0.6)))
    np.testing.assert_array_equal(sit.frame, np.arange(1, 98))
    main(["--groundtruth", f"{tmp_path}/clip.1_tubes.csv", "--detections", f"{tmp_path}/clip.1_tubes.csv"])
    assert (tmp_path / "clip.1_tubes.png").stat().st_size > 1000


@pytest.mark.parametrize("name", list(LINKERS))
def test_nothing_and_one_box(name: str) -> None:
    nothing = FrameBoxes(("v",), *[np.empty(0, int)] * 3, np.empty(0), np.empty((0, 4)))
    assert len(link(nothing, DATASET, name)) == 0
    one = found((3, 0, 0.9, box(10)))
    assert len(link(one, DATASET, name)) <= 1


def test_unknown_class_is_one_line() -> None:
    with pytest.raises(UserError, match="class 2 where the dataset has 2 classes"):
        link(found((1, 2, 0.5, box(1))), DATASET, "ours")


def test_published_linkers_find_a_steady_actor_too() -> None:
    truth = tubes_of(
        ("v",), [(0, 0, 1.0, np.arange(1, 101), np.array([box(0.5 * f) for f in range(1, 101)]))]
    )
    rows = [(f, 0, 0.8, box(0.5 * f)) for f in range(1, 101)]
    for name in LINKERS:
        tubes = link(found(*rows), DATASET, name)
        assert len(tubes) == 1, name
        np.testing.assert_allclose(tubes.boxes, truth.boxes, atol=1e-4)
