"""What a pass's features lack to those of clips is learnt from a few clips of the film."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_exactness import NO_TIME, SLOW_FAST, assert_alike, detector, film, found

from mestad_d2.errors import UserError
from mestad_d2.inference.one_pass import calibration
from mestad_d2.inference.one_pass.calibration import PassCalibration
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.video.stream import StreamFrame

CLIPS = "TEST.PASS_CALIBRATION_CLIPS"


def random_features(seed: int) -> dict[str, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {"res5": [torch.randn(1, c, t, 4, 5, generator=generator) + 3 for c, t in ((6, 4), (3, 8))]}


def test_factors_are_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "PULL", 0.0)
    learnt, passed, clips = PassCalibration(3), *([random_features(s + k) for s in range(3)] for k in (0, 9))
    for x, y in zip(passed, clips, strict=True):
        learnt.add(x, y)
    assert learnt.missing == 0
    for index, x in enumerate(learnt.apply(passed[0])["res5"]):
        for channel in range(x.shape[1]):
            for step in range(x.shape[2]):
                one, other = (
                    np.concatenate([f["res5"][index][0, channel, step].flatten() for f in side])
                    for side in (passed, clips)
                )
                factor = np.linalg.lstsq(one[:, None], other, rcond=None)[0][0]
                wanted = factor * passed[0]["res5"][index][0, channel, step]
                np.testing.assert_allclose(x[0, channel, step], wanted, atol=1e-5)


def test_a_channel_that_is_always_zero_stays_so() -> None:
    for stage in (torch.zeros(1, 2, 4, 3, 3), torch.rand(1, 2, 4, 3, 3)):
        stage[:, 0] = 0
        learnt = PassCalibration(1)
        learnt.add({"res5": [stage]}, {"res5": [stage / 2 + 0.1]})
        found = learnt.apply({"res5": [stage]})["res5"][0]
        assert bool(found.isfinite().all()) and not found[:, 0].any()


def test_equal_features_stay_as_they_are() -> None:
    learnt, features = PassCalibration(2), random_features(0)
    assert learnt.apply(features) is features and learnt.missing == 2
    learnt.add(features, features)
    for x, y in zip(learnt.apply(features)["res5"], features["res5"], strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("options", [[], SLOW_FAST], ids=["slow", "slowfast"])
def test_scores_come_nearer_to_those_of_clips(options: list) -> None:
    """On key frames after those that were compared."""
    frames, rate = film(180), {"keyframes_per_second": 3.75}
    cfg, model = detector(*options)
    clips = found(cfg, model, frames, **rate)
    gaps = []
    for count in (0, 8):
        cfg, model = detector(*options, CLIPS, count)
        passed = found(cfg, model, frames, mode="pass", segment_seconds=3.0, **rate)
        later = [(a, b) for a, b in zip(passed, clips, strict=True) if a.timestamp > 3.0]
        assert len(later) > 10
        gaps.append(np.mean([np.abs(a.actions.mean(0) - b.actions.mean(0)).mean() for a, b in later]))
    assert gaps[1] < gaps[0]


def test_as_many_clips_as_asked_for_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = PassCalibration.add
    monkeypatch.setattr(PassCalibration, "add", lambda self, *x: (seen.append(self), real(self, *x))[1])
    for count, segment in ((0, 8.0), (3, 8.0), (3, 0.14), (1000, 1.0)):
        seen.clear()
        cfg, model = detector(*NO_TIME, CLIPS, count)
        frames = film(33)
        passed = found(cfg, model, frames, keyframes_per_second=7.5, mode="pass", segment_seconds=segment)
        # A film of 33 frames has nine key frames on the grid.
        assert len(passed) == 9 and len(seen) == min(count, 9)


def test_a_film_is_calibrated_by_itself() -> None:
    """What a predictor has seen before changes nothing."""
    cfg, model = detector()
    predictor = VideoPredictor(cfg, model, mode="pass", keyframes_per_second=3.75)
    frames = film(60)
    first = list(predictor.predict(frames))
    darker = [StreamFrame(frame.time, frame.image // 2) for frame in frames]
    assert not np.allclose(list(predictor.predict(darker))[0].actions, first[0].actions, atol=1e-4)
    assert_alike(list(predictor.predict(frames)), first, atol=1e-7)


def test_a_negative_number_is_refused() -> None:
    cfg, model = detector(CLIPS, -1)
    with pytest.raises(UserError, match="PASS_CALIBRATION_CLIPS: -1 is below 0"):
        found(cfg, model, film(9), mode="pass")
