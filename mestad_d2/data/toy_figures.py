"""Draws the toy dataset's people, distractors and backgrounds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mestad_d2.data.toy_tracks import Build

SHIFT = 3  # cv2 draws with this many binary digits after the point
ONE = 1 << SHIFT
KINDS = ("ball", "box", "car", "bar", "post", "animal")


@dataclass
class Look:
    """Colours (RGB) and clothing of a figure."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]
    thing: tuple[int, int, int]
    thing_kind: int
    long_sleeves: bool
    shorts: bool
    stripes: bool


def _colour(rng: np.random.Generator, low: int = 10, high: int = 245) -> tuple[int, int, int]:
    return tuple(int(value) for value in rng.integers(low, high, 3))


def draw_look(rng: np.random.Generator) -> Look:
    """A random look; skin runs from dark to light."""
    skin = np.array([90, 56, 40]) + rng.random() * np.array([150, 145, 130]) + rng.normal(0, 6, 3)
    return Look(
        skin=tuple(int(value) for value in np.clip(skin, 0, 255)),
        hair=_colour(rng, 10, 120),
        shirt=_colour(rng),
        trousers=_colour(rng, 10, 200),
        thing=_colour(rng),
        thing_kind=int(rng.integers(3)),
        long_sleeves=bool(rng.random() < 0.5),
        shorts=bool(rng.random() < 0.3),
        stripes=bool(rng.random() < 0.35),
    )


def draw_build(rng: np.random.Generator) -> Build:
    """A random build from slim to broad."""
    wide = rng.random()
    return Build(
        head=rng.uniform(0.075, 0.09),
        shoulders=0.085 + 0.05 * wide,
        hips=0.055 + 0.045 * wide,
        limb=0.06 + 0.03 * wide,
    )


def paint_person(frame: np.ndarray, joints: list[list[int]], look: Look, limb: int, head: int) -> None:
    """Draw one figure; ``joints`` 13 x 2 and ``head`` (radius) in 1/8 pixels, ``limb`` thickness in pixels."""
    top, shoulder_l, shoulder_r, hip_l, hip_r, knee_l, knee_r, foot_l, foot_r, *arms = joints
    aa = cv2.LINE_AA

    def part(a: list[int], b: list[int], colour: tuple[int, int, int], thick: int = limb) -> None:
        cv2.line(frame, a, b, colour, thick, aa, SHIFT)

    shin = look.skin if look.shorts else look.trousers
    for hip, knee, foot in ((hip_l, knee_l, foot_l), (hip_r, knee_r, foot_r)):
        part(knee, foot, shin)
        part(hip, knee, look.trousers)
        cv2.circle(frame, foot, limb * ONE // 2, (30, 25, 25), -1, aa, SHIFT)
    part([(shoulder_l[0] + shoulder_r[0]) // 2, shoulder_l[1]], top, look.skin)
    trunk = np.array([shoulder_l, shoulder_r, hip_r, hip_l], dtype=np.int32)
    cv2.fillConvexPoly(frame, trunk, look.shirt, aa, SHIFT)
    part(shoulder_l, shoulder_r, look.shirt)
    part(hip_l, hip_r, look.trousers)
    if look.stripes:
        for share in (0.35, 0.7):
            left = [int(a + share * (b - a)) for a, b in zip(shoulder_l, hip_l, strict=True)]
            right = [int(a + share * (b - a)) for a, b in zip(shoulder_r, hip_r, strict=True)]
            part(left, right, look.trousers, 2)
    cv2.circle(frame, top, head, look.hair, -1, aa, SHIFT)
    cv2.circle(frame, [top[0], top[1] + head // 4], head * 3 // 4, look.skin, -1, aa, SHIFT)
    forearm = look.shirt if look.long_sleeves else look.skin
    for shoulder, elbow, hand in ((shoulder_l, arms[0], arms[2]), (shoulder_r, arms[1], arms[3])):
        part(elbow, hand, forearm, limb - 1)
        part(shoulder, elbow, look.shirt, limb - 1)
        cv2.circle(frame, hand, limb * ONE // 2, look.skin, -1, aa, SHIFT)


def paint_thing(frame: np.ndarray, hand: list[int], look: Look, size: int) -> None:
    """Draw what a hand carries: a ball, a box or a bottle; ``size`` (half) in 1/8 pixels."""
    x, y = hand
    if look.thing_kind == 0:
        cv2.circle(frame, hand, size, look.thing, -1, cv2.LINE_AA, SHIFT)
        return
    wide, high = (size, size) if look.thing_kind == 1 else (size * 2 // 3, size * 3 // 2)
    corners = [[x - wide, y - high], [x + wide, y - high], [x + wide, y + high], [x - wide, y + high]]
    cv2.fillConvexPoly(frame, np.array(corners, dtype=np.int32), look.thing, cv2.LINE_AA, SHIFT)


def paint_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A textured picture (height, width, 3) uint8: coloured noise of several scales, ground, clutter."""
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for scale, weight in ((64, 26.0), (24, 22.0), (9, 16.0), (3, 10.0)):
        shape = (max(2, height // scale), max(2, width // scale), 3)
        noise = rng.normal(size=shape).astype(np.float32)
        noise = 0.6 * noise.mean(2, keepdims=True) + 0.6 * noise
        picture += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    horizon = int(rng.uniform(0.4, 0.7) * height)
    picture[:horizon] += np.array(_colour(rng, 60, 200), dtype=np.float32)
    picture[horizon:] += np.array(_colour(rng, 50, 180), dtype=np.float32)
    picture = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(3, 10))):
        overlay = picture.copy()
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(4, 40)), int(rng.integers(6, 60))
        if rng.random() < 0.6:
            cv2.rectangle(overlay, (x, y), (x + w, y + h), _colour(rng), -1)
        else:
            cv2.ellipse(
                overlay,
                (x, y),
                (w // 2 + 2, h // 2 + 2),
                float(rng.uniform(0, 180)),
                0,
                360,
                _colour(rng),
                -1,
            )
        picture = cv2.addWeighted(overlay, 0.6, picture, 0.4, 0)
    return picture


@dataclass
class Distractor:
    """Something that moves and is nobody; lengths in pixels, speeds in cycles a second."""

    kind: str
    colour: tuple[int, int, int]
    second_colour: tuple[int, int, int]
    size: float
    x: float
    y: float
    sway: float
    speed: float
    hop: float
    phase: float
    in_front: bool


def draw_distractor(rng: np.random.Generator, width: int, height: int) -> Distractor:
    """A random distractor for a picture of width x height pixels."""
    kind = KINDS[int(rng.integers(len(KINDS)))]
    return Distractor(
        kind=kind,
        colour=_colour(rng),
        second_colour=_colour(rng),
        size=rng.uniform(5, 14) if kind in ("ball", "box") else rng.uniform(9, 18),
        x=rng.uniform(0.1, 0.9) * width,
        y=rng.uniform(0.55, 0.95) * height,
        sway=rng.uniform(5, 55),
        speed=rng.uniform(0.05, 0.25),
        hop=rng.uniform(5, 35) if kind == "ball" else 0.0,
        phase=rng.random(),
        in_front=bool(rng.random() < 0.2),
    )


def paint_distractor(frame: np.ndarray, thing: Distractor, time: float, camera: tuple[float, float]) -> None:
    """Draw ``thing`` as it is at ``time`` (seconds), seen by a camera moved by ``camera`` pixels."""
    turn = 2 * np.pi * (thing.phase + time * thing.speed)
    sway = 0.1 * thing.sway if thing.kind == "post" else thing.sway
    x = thing.x + sway * np.sin(turn) - camera[0]
    y = thing.y - thing.hop * abs(np.sin(5 * turn)) - camera[1]
    s, aa = thing.size, cv2.LINE_AA

    def at(dx: float, dy: float) -> list[int]:
        return [int((x + dx * s) * ONE), int((y + dy * s) * ONE)]

    def block(x1: float, y1: float, x2: float, y2: float, colour: tuple[int, int, int]) -> None:
        corners = np.array([at(x1, y1), at(x2, y1), at(x2, y2), at(x1, y2)], dtype=np.int32)
        cv2.fillConvexPoly(frame, corners, colour, aa, SHIFT)

    def disc(dx: float, dy: float, radius: float, colour: tuple[int, int, int]) -> None:
        cv2.circle(frame, at(dx, dy), int(radius * s * ONE), colour, -1, aa, SHIFT)

    if thing.kind == "ball":
        disc(0, -1, 1, thing.colour)
        disc(0.35 * np.cos(4 * turn), -1 + 0.35 * np.sin(4 * turn), 0.4, thing.second_colour)
    elif thing.kind == "box":
        block(-1, -1.6, 1, 0, thing.colour)
        block(-0.15, -1.6, 0.15, 0, thing.second_colour)
    elif thing.kind == "car":
        block(-1.6, -1.0, 1.6, -0.25, thing.colour)
        block(-0.9, -1.6, 0.8, -1.0, thing.second_colour)
        disc(-0.9, -0.25, 0.35, (25, 25, 25))
        disc(0.9, -0.25, 0.35, (25, 25, 25))
    elif thing.kind == "bar":
        lean = 1.6 * np.sin(3 * turn)
        cv2.line(frame, at(0, 0), at(lean, -2.6), thing.colour, max(3, int(s / 3)), aa, SHIFT)
    elif thing.kind == "post":
        cv2.line(frame, at(0, 0), at(0, -3.2), thing.colour, max(3, int(s / 3)), aa, SHIFT)
        disc(0, -3.3, 0.45, thing.second_colour)
    else:
        for leg in (-0.8, -0.5, 0.5, 0.8):
            step = 0.25 * np.sin(12 * turn + 9 * leg)
            cv2.line(frame, at(leg, -0.6), at(leg + step, 0), thing.colour, 2, aa, SHIFT)
        axes = (int(1.1 * s * ONE), int(0.5 * s * ONE))
        cv2.ellipse(frame, at(0, -0.85), axes, 0, 0, 360, thing.colour, -1, aa, SHIFT)
        disc(1.2 * np.sign(np.cos(turn)), -1.3, 0.4, thing.second_colour)
