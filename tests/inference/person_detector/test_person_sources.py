"""Boxes of a detector, or of a file, reach the action head at the right key frame and place."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_video import read_number, write_numbered_video
from tiny import tiny_cfg

from mestad_d2.data.person_boxes import nobody, read_person_boxes, write_person_boxes
from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.batch import worker_setup
from mestad_d2.inference.person_detector.base import PersonDetector
from mestad_d2.inference.person_detector.sources import DetectedPersons, FilePersons, use_persons
from mestad_d2.inference.predictor import VideoPredictor, load_model
from mestad_d2.inference.speed.modes import SpeedMode
from mestad_d2.people import People


class Numbers(PersonDetector):
    """One box a picture, whose width is the number that the picture shows."""

    def __init__(self) -> None:
        super().__init__(0.0, 1.0, 10)
        self.batches: list[int] = []

    def detect(self, pictures):
        self.batches.append(len(pictures))
        return [(torch.tensor([[0.0, 0.0, 1 + read_number(p), 20.0]]), torch.tensor([0.9])) for p in pictures]


def predictor(persons, per_second: float = 4.0) -> VideoPredictor:
    cfg = tiny_cfg("MODEL.WEIGHTS_ALLOW_MISSING", True).clone()
    cfg.defrost()
    use_persons(cfg, "csv:none.csv")
    return VideoPredictor(cfg, load_model(cfg), persons=persons, keyframes_per_second=per_second)


def person(x1: float, y1: float, x2: float, y2: float, score: float) -> People:
    """One person of a file: a box in fractions and its score."""
    return People(0.0, np.array([[x1, y1, x2, y2]]), np.array([score]))


@pytest.mark.parametrize("per_second", [1.0, 4.0, 30.0])
def test_the_detector_sees_the_key_frames_of_the_clips(tmp_path: Path, per_second: float) -> None:
    write_numbered_video(tmp_path / "v.mp4", 60, Fraction(25))
    detector = Numbers()
    runner = predictor(DetectedPersons(detector), per_second)
    clips = list(runner.clips(str(tmp_path / "v.mp4")))
    found = list(runner.predict(str(tmp_path / "v.mp4")))
    # The same frame that the clip has as its key frame, in full size.
    middle = [read_number(clip.frames[len(clip.frames) // 2]) for clip in clips]
    assert [round(float(k.boxes[0, 2])) - 1 for k in found] == middle
    assert max(detector.batches) == min(runner.batch_size, len(clips))
    assert runner.persons.pictures == len(clips) and runner.persons.seconds > 0


def test_boxes_of_a_file_are_classified_where_they_are(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 60, Fraction(25))
    people = {("v", 0.0): person(0.1, 0.2, 0.5, 0.9, 0.8), ("v", 1.0): nobody(1.0)}
    write_person_boxes(tmp_path / "boxes.csv", people)
    first, *later = predictor(FilePersons(tmp_path / "boxes.csv"), 1.0).predict(str(tmp_path / "v.mp4"))
    size = np.array([first.width, first.height] * 2)
    np.testing.assert_allclose(first.boxes, people["v", 0.0].boxes * size, atol=1e-2)
    np.testing.assert_allclose(first.scores, [0.8], atol=1e-6)
    assert first.actions.shape == (1, 12) and [len(k.boxes) for k in later] == [0, 0]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    people = {("a, b", 0.333): person(0.1, 0.2, 0.5, 0.9, 0.8123), ("c", 1.0): person(0, 0, 1, 1, 1)}
    # In pixels of their video, as a run of the detector gives them.
    people["c", 1.0] = people["c", 1.0].resized(48, 64)
    write_person_boxes(tmp_path / "b.csv", people)
    read = read_person_boxes(tmp_path / "b.csv")
    assert read.keys() == people.keys()
    for key in people:
        np.testing.assert_allclose(read[key].boxes, people[key].fractions(), atol=1e-4)
        np.testing.assert_allclose(read[key].scores, people[key].scores, atol=1e-4)


def test_boxes_of_other_videos_are_refused(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 5, Fraction(25))
    whole = person(0, 0, 1, 1, 1)
    write_person_boxes(tmp_path / "b.csv", {("a", 0.0): whole, ("b", 0.0): whole})
    with pytest.raises(UserError, match="no boxes of video 'v'; it has a, b"):
        list(predictor(FilePersons(tmp_path / "b.csv")).predict(str(tmp_path / "v.mp4")))


def test_without_a_detector_external_boxes_are_refused() -> None:
    cfg = tiny_cfg("MODEL.ROI_ACTION_HEAD.TEST_BOXES", "external")
    with pytest.raises(UserError, match="name a person detector"):
        load_model(cfg)


def test_one_pass_classifies_the_same_boxes(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 60, Fraction(25))
    cfg = tiny_cfg("MODEL.WEIGHTS_ALLOW_MISSING", True).clone()
    cfg.defrost()
    use_persons(cfg, "csv:none.csv")
    model = load_model(cfg)
    found = {}
    for mode in ("clip", "pass"):
        runner = VideoPredictor(cfg, model, persons=DetectedPersons(Numbers()), mode=mode)
        assert runner.mode == mode
        found[mode] = list(runner.predict(str(tmp_path / "v.mp4")))
    assert len(found["clip"]) == len(found["pass"]) == 3
    for clip, whole in zip(found["clip"], found["pass"], strict=True):
        # A box's width is the number of its frame: the grid moves key frames by at most half a step.
        assert abs(whole.boxes[0, 2] - clip.boxes[0, 2]) <= 25 * abs(whole.timestamp - clip.timestamp) + 1.01
        np.testing.assert_allclose(whole.scores, clip.scores)


def test_a_file_of_many_videos_and_a_pause_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of detect_many takes the boxes of the video's name, and no key frame where there is no frame."""
    times = [*(i / 25 for i in range(50)), *(60 + i / 25 for i in range(50))]
    boxes = {}
    for name, left in (("v", 0.1), ("w", 0.4)):
        write_numbered_video(tmp_path / f"{name}.mp4", 100, Fraction(25), times=times)
        boxes |= {(name, second): person(left, 0.2, 0.9, 0.9, 0.8) for second in (0.0, 1.0, 60.0, 61.0)}
    write_person_boxes(tmp_path / "boxes.csv", boxes)
    runner = predictor(FilePersons(tmp_path / "boxes.csv"), 1.0)
    monkeypatch.setattr(worker_setup, "VideoPredictor", lambda *_, **__: runner)
    setup = worker_setup.WorkerSetup(tiny_cfg(), ActionNames(), SpeedMode(), 1.0, 0.0, 0.0, 1)
    for name, left in (("v", 0.1), ("w", 0.4)):
        lines = [json.loads(line) for line in setup(0)(str(tmp_path / f"{name}.mp4")).splitlines()]
        people = {line["timestamp"]: line["people"] for line in lines}
        assert {0.0, 1.0, 60.0, 61.0} <= set(people) and not set(people) - {0.0, 1.0, 2.0, 60.0, 61.0, 62.0}
        assert people[60.0][0]["box"][0] == pytest.approx(left * lines[0]["width"], abs=0.1)
