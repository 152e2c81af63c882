"""An actor's timelines turned into joints, boxes and labels at every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mestad_d2.data.toy import actions as act
from mestad_d2.data.toy.motion import BLEND, CARRY, IDLE, RAISED, REACH, SPREAD, Actor, Segment

# Joints in the order of Track.joints' second axis; left and right are the picture's.
JOINTS = (
    "head shoulder_l shoulder_r hip_l hip_r knee_l knee_r foot_l foot_r elbow_l elbow_r hand_l hand_r".split()
)
RIM = 0.8  # pixels


@dataclass
class Build:
    """Proportions of a body, in body heights."""

    head: float
    shoulders: float  # half width
    hips: float  # half width
    limb: float  # thickness


@dataclass
class Track:
    """What one actor does over T frames.

    joints (T, 13, 2) world pixels; boxes (T, 4) x1, y1, x2, y2 around the body without its object;
    labels (T, 3) action ids of pose, object and person timelines (0 = none).
    """

    joints: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def triangle(cycles: np.ndarray) -> np.ndarray:
    """Compute a triangle wave in [0, 1] with period 1: every value is equally likely, rising and falling."""
    return 1.0 - np.abs(1.0 - 2.0 * np.mod(cycles, 1.0))


def stroke(cycles: np.ndarray) -> np.ndarray:
    """Compute a wave in [0, 1] that rises slowly over 4/5 of its period 1 and falls back quickly."""
    phase = np.mod(cycles, 1.0)
    return np.where(phase < 0.8, phase / 0.8, (1.0 - phase) / 0.2)


def make_track(actor: Actor, build: Build, frames: int, fps: int) -> Track:
    """Sample ``actor`` at ``frames`` frames of ``fps``; frame f is at f / fps seconds."""
    times = np.arange(frames) / fps
    pose, pose_ids = _sample(actor.pose, times, _pose_values)
    carry, object_ids = _sample(actor.object, times, _object_values)
    raised, person_ids = _sample(actor.person, times, _person_values)
    joints = place_joints(actor, build, pose, carry, raised)
    radius = np.full(len(JOINTS), build.limb / 2) * actor.height
    radius[0] = build.head * actor.height
    # cv2 counts from the middle of the first pixel and smooth lines have a rim; boxes count from its edge
    low = (joints - radius[None, :, None]).min(1) + 0.5 - RIM
    high = (joints + radius[None, :, None]).max(1) + 0.5 + RIM
    labels = np.stack([pose_ids, object_ids, person_ids], axis=1)
    return Track(joints, np.concatenate([low, high], axis=1), labels)


def _sample(segments: list[Segment], times: np.ndarray, function) -> tuple[np.ndarray, np.ndarray]:
    """Values (T, K) of the segments' motion, joined without jumps, and their action ids (T,)."""
    values, ids = None, np.zeros(len(times), dtype=np.int64)
    bridges = []
    for number, segment in enumerate(segments):
        inside = np.flatnonzero((times >= segment.start) & (times < segment.end))
        ids[inside] = segment.action
        part = function(segment, times[inside])
        if values is None:
            values = np.zeros((len(times), part.shape[1]))
        values[inside] = part
        if number:
            edge = np.array([segment.start])
            bridges.append(
                (segment.start, function(segments[number - 1], edge)[0] - function(segment, edge)[0])
            )
    for start, jump in bridges:
        weight = np.clip(1.0 - (times - start) / BLEND, 0.0, 1.0) * (times >= start)
        values += weight[:, None] * jump[None]
    return values, ids


def _between(limits: tuple[float, float], place: np.ndarray | float) -> np.ndarray | float:
    return limits[0] + (limits[1] - limits[0]) * place


def _pose_values(segment: Segment, times: np.ndarray) -> np.ndarray:
    """(T, 3): x, level (1 = upright, 0 = lowest), half distance of the feet in leg lengths."""
    n, passed = segment.numbers, times - segment.start
    level = n["from"] + (n["to"] - n["from"]) * passed / (segment.end - segment.start)
    place = np.full(len(times), n["spread"])
    if segment.action in (act.WALK_LEFT, act.WALK_RIGHT):
        place = triangle(n["phase"] + passed / n["period"])
    return np.stack([n["x"] + n["speed"] * passed, level, _between(SPREAD, place)], axis=1)


def _object_values(segment: Segment, times: np.ndarray) -> np.ndarray:
    """(T, 2): the carrying arm's angle (degrees) and reach (arm lengths)."""
    n, cycles = (
        segment.numbers,
        segment.numbers["phase"] + (times - segment.start) / segment.numbers["period"],
    )
    angle, reach = np.full(len(times), n["angle"]), np.full(len(times), n["reach"])
    if segment.action == 0:
        return np.stack([_between(IDLE, angle), np.full(len(times), 0.97)], axis=1)
    if segment.action == act.SHAKE:
        angle = triangle(cycles)
    elif segment.action == act.PUSH:
        reach = stroke(cycles)
    elif segment.action == act.PULL:
        reach = stroke(-cycles)
    return np.stack([_between(CARRY, angle), _between(REACH, reach)], axis=1)


def _person_values(segment: Segment, times: np.ndarray) -> np.ndarray:
    """(T, 1): the free arm's angle (degrees)."""
    n = segment.numbers
    if segment.action:
        angle = _between(RAISED, triangle(n["phase"] + (times - segment.start) / n["period"]))
    else:
        limits, place = (RAISED, n["angle"]) if n["rests_raised"] else (IDLE, n["idle"])
        angle = np.full(len(times), _between(limits, place))
    return angle[:, None]


def place_joints(
    actor: Actor, build: Build, pose: np.ndarray, carry: np.ndarray, raised: np.ndarray
) -> np.ndarray:
    """Compute joints (T, 13, 2) of a body drawn from the front, whose legs mirror each other."""
    size = actor.height
    leg, trunk, arm = 0.47 * size, 0.30 * size, 0.38 * size
    x, level, spread = pose[:, 0], pose[:, 1], pose[:, 2] * leg
    side_offset = spread - build.hips * size
    hip_y = actor.feet_y - np.sqrt(leg**2 - side_offset**2) * (0.22 + 0.78 * level)
    shoulder_y = hip_y - trunk
    joints = np.zeros((len(x), len(JOINTS), 2))
    joints[:, 0] = np.stack([x, shoulder_y - 0.03 * size - build.head * size], axis=1)
    for side, shift in ((-1, 0), (1, 1)):
        shoulder = np.stack([x + side * build.shoulders * size, shoulder_y], axis=1)
        hip = np.stack([x + side * build.hips * size, hip_y], axis=1)
        foot = np.stack([x + side * spread, np.full(len(x), actor.feet_y)], axis=1)
        if side == actor.object_side:
            angle, reach = np.deg2rad(carry[:, 0]), arm * carry[:, 1]
        else:
            angle, reach = np.deg2rad(raised[:, 0]), np.full(len(x), 0.97 * arm)
        hand = shoulder + reach[:, None] * np.stack([side * np.sin(angle), np.cos(angle)], axis=1)
        joints[:, 1 + shift], joints[:, 3 + shift], joints[:, 7 + shift] = shoulder, hip, foot
        # legs bend towards the viewer too: the knee shows only part of its way outwards
        joints[:, 5 + shift] = _bend(hip, foot, leg / 2, side * 0.55 * np.array([1.0, 0.0]))
        joints[:, 9 + shift] = _bend(shoulder, hand, arm / 2, np.array([0.25 * side, 1.0]))
        joints[:, 11 + shift] = hand
    return joints


def _bend(start: np.ndarray, end: np.ndarray, length: float, way: np.ndarray) -> np.ndarray:
    """Middle joint of two parts of equal length, moved from the straight line along ``way``."""
    half = np.linalg.norm(end - start, axis=1) / 2
    return (start + end) / 2 + np.sqrt(np.maximum(length**2 - half**2, 0.0))[:, None] * way
