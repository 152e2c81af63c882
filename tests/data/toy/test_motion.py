"""What the toy's classes promise: alike in one frame, different over time; boxes tight around the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mestad_d2.data.toy import actions as act
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.data.toy.figures import ONE, draw_build, draw_look, paint_person
from mestad_d2.data.toy.motion import Actor, Segment, plan_actors
from mestad_d2.data.toy.tracks import JOINTS, make_track
from mestad_d2.formats.ava_csv import read_ground_truth

FPS = 40
NUMBERS = {"x": 80.0, "speed": 0.0, "from": 1.0, "to": 1.0, "spread": 0.3, "period": 0.8, "phase": 0.0}
LIMB = {"angle": 0.4, "reach": 0.6, "idle": 0.5, "rests_raised": 0.0, "period": 1.2, "phase": 0.0}


def joints_of(pose: tuple[int, dict], thing: tuple[int, dict], person: tuple[int, dict]) -> np.ndarray:
    """Joints (2 s at 40 fps) of a figure that does one action of each kind throughout, without its place."""
    parts = [
        [Segment(0.0, 2.0, action, base | numbers)]
        for (action, numbers), base in zip((pose, thing, person), (NUMBERS, LIMB, LIMB), strict=True)
    ]
    actor = Actor(60.0, 110.0, 1, *parts)
    joints = make_track(actor, draw_build(np.random.default_rng(0)), 2 * FPS, FPS).joints
    x = joints[:, 0, 0].copy()
    joints[..., 0] -= x[:, None]
    return joints


IDLE, STILL = (0, {}), (act.STAND, {})


def test_a_walker_shows_no_direction_and_looks_like_somebody_who_stands() -> None:
    left = joints_of((act.WALK_LEFT, {"speed": -30.0}), IDLE, IDLE)
    right = joints_of((act.WALK_RIGHT, {"speed": 30.0}), IDLE, IDLE)
    np.testing.assert_allclose(left, right, atol=1e-9)
    legs = [JOINTS.index(f"{part}_{side}") for part in ("hip", "knee", "foot") for side in "lr"]
    mirrored = right[:, legs].reshape(len(right), 3, 2, 2)[:, :, ::-1] * [-1, 1]
    np.testing.assert_allclose(mirrored.reshape(len(right), 6, 2), right[:, legs], atol=1e-9)
    # After an eighth of its period the triangle wave of the stride is at a quarter of its range.
    standing = joints_of((act.STAND, {"spread": 0.25}), IDLE, IDLE)
    np.testing.assert_allclose(right[FPS // 10], standing[0], atol=1e-9)


@pytest.mark.parametrize(
    ("forth", "back"),
    [
        (
            ((act.RISE, {"from": 0.1, "to": 1.0}), IDLE, IDLE),
            ((act.CROUCH, {"from": 1.0, "to": 0.1}), IDLE, IDLE),
        ),
        ((STILL, (act.PUSH, {"period": 1.0}), IDLE), (STILL, (act.PULL, {"period": 1.0}), IDLE)),
    ],
)
def test_one_is_the_other_played_backwards(forth: tuple, back: tuple) -> None:
    a, b = joints_of(*forth), joints_of(*back)
    np.testing.assert_allclose(a[1:], b[1:][::-1], atol=1e-9)
    assert np.abs(a - b).max() > 5  # pixels: forwards they differ


@pytest.mark.parametrize(
    ("fast", "slow", "base", "kind"), [(act.WAVE, act.RAISE, 0.8, 2), (act.SHAKE, act.HOLD, 0.5, 1)]
)
def test_a_fast_arm_passes_where_a_slow_one_is(fast: int, slow: int, base: float, kind: int) -> None:
    def arm(action: int, period: float, angle: float = 0.0) -> np.ndarray:
        poses = [STILL, IDLE, IDLE]
        poses[kind] = (action, {"period": period, "angle": angle})
        return joints_of(*poses)

    quick = arm(fast, base)
    if slow == act.HOLD:  # it stays, wherever in the range it was drawn
        others = np.stack([arm(slow, 1.0, angle)[0] for angle in np.linspace(0, 1, 201)])
    else:
        others = arm(slow, 4.0)
    for frame in quick:
        assert np.abs(others - frame).max(axis=(1, 2)).min() < 1.5  # pixels; half a step of the slow one
    assert (
        np.abs(np.diff(quick, axis=0)).max() > 4 * np.abs(np.diff(others, axis=0)).max() or slow == act.HOLD
    )


def test_boxes_are_tight_around_what_is_drawn() -> None:
    rng = np.random.default_rng(5)
    for actor in plan_actors(rng, 3, 8.0, 400, 300):
        actor.feet_y = 200.0
        build, look = draw_build(rng), draw_look(rng)
        track = make_track(actor, build, 80, 10)
        limb, head = max(3, round(build.limb * actor.height)), int(build.head * actor.height * ONE)
        for index in range(0, 80, 7):
            frame = np.full((300, 500, 3), 255, np.uint8)
            paint_person(
                frame, np.rint((track.joints[index] + [50, 0]) * ONE).astype(int).tolist(), look, limb, head
            )
            y, x = np.nonzero((frame < 250).any(-1))
            drawn = np.array([x.min() - 50, y.min(), x.max() - 49, y.max() + 1])
            # with the faint rim of smooth lines
            np.testing.assert_allclose(track.boxes[index], drawn, atol=1.9)


def test_labels_say_where_people_go() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        for actor in plan_actors(rng, 3, 20.0, 160, 128):
            track = make_track(actor, draw_build(rng), 600, 30)
            way = np.diff(track.joints[:, 0, 0])
            same = track.labels[1:, 0] == track.labels[:-1, 0]
            assert (way[same & (track.labels[1:, 0] == act.WALK_LEFT)] < 0).all()
            assert (way[same & (track.labels[1:, 0] == act.WALK_RIGHT)] > 0).all()
            hips = track.joints[:, JOINTS.index("hip_l"), 1]
            settled = same & (np.abs(np.diff(hips)) > 1e-9)
            for action, sign in ((act.RISE, -1), (act.CROUCH, 1)):
                moves = np.diff(hips)[settled & (track.labels[1:, 0] == action)]
                assert np.mean(np.sign(moves) == sign) > 0.9 if len(moves) else True
            assert (track.labels[:, 0] > 0).all()


def test_excluded_seconds_exist_and_a_changed_setting_renders_anew(tmp_path: Path) -> None:
    root = tmp_path / "toy"
    make_toy(root, videos=1, val_videos=0, seconds=2)
    make_toy(root, videos=2, val_videos=0, seconds=2)
    assert len(list((root / "videos").iterdir())) == 2
    assert {row.timestamp for row in read_ground_truth(str(root / "annotations" / "train.csv"))} == {1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]  # nothing half-written stays
