"""Draws the toy dataset's people and what they carry."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mestad_d2.data.toy.tracks import Build

SHIFT = 3  # cv2 draws with this many binary digits after the point
ONE = 1 << SHIFT


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


def random_colour(rng: np.random.Generator, low: int = 10, high: int = 245) -> tuple[int, int, int]:
    """Draw an RGB colour, each channel from ``low`` to below ``high``."""
    return tuple(int(value) for value in rng.integers(low, high, 3))


def draw_look(rng: np.random.Generator) -> Look:
    """Draw a random look; skin runs from dark to light."""
    skin = np.array([90, 56, 40]) + rng.random() * np.array([150, 145, 130]) + rng.normal(0, 6, 3)
    return Look(
        skin=tuple(int(value) for value in np.clip(skin, 0, 255)),
        hair=random_colour(rng, 10, 120),
        shirt=random_colour(rng),
        trousers=random_colour(rng, 10, 200),
        thing=random_colour(rng),
        thing_kind=int(rng.integers(3)),
        long_sleeves=bool(rng.random() < 0.5),
        shorts=bool(rng.random() < 0.3),
        stripes=bool(rng.random() < 0.35),
    )


def draw_build(rng: np.random.Generator) -> Build:
    """Draw a random build from slim to broad."""
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
