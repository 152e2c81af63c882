"""Draws what surrounds the toy dataset's people: backgrounds and moving things."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mestad_d2.data.toy.figures import ONE, SHIFT, random_colour

KINDS = ("ball", "box", "car", "bar", "post", "animal")


def paint_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Paint a textured picture (height, width, 3) uint8: coloured noise of several scales, ground, clutter."""
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for scale, weight in ((64, 26.0), (24, 22.0), (9, 16.0), (3, 10.0)):
        shape = (max(2, height // scale), max(2, width // scale), 3)
        noise = rng.normal(size=shape).astype(np.float32)
        noise = 0.6 * noise.mean(2, keepdims=True) + 0.6 * noise
        picture += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    horizon = int(rng.uniform(0.4, 0.7) * height)
    picture[:horizon] += np.array(random_colour(rng, 60, 200), dtype=np.float32)
    picture[horizon:] += np.array(random_colour(rng, 50, 180), dtype=np.float32)
    picture = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(3, 10))):
        overlay = picture.copy()
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(4, 40)), int(rng.integers(6, 60))
        if rng.random() < 0.6:
            cv2.rectangle(overlay, (x, y), (x + w, y + h), random_colour(rng), -1)
        else:
            cv2.ellipse(
                overlay,
                (x, y),
                (w // 2 + 2, h // 2 + 2),
                float(rng.uniform(0, 180)),
                0,
                360,
                random_colour(rng),
                -1,
            )
        picture = cv2.addWeighted(overlay, 0.6, picture, 0.4, 0)
    return picture


@dataclass
class Distractor:
    """A moving object that is not a person; lengths in pixels, speeds in cycles a second."""

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
    """Draw a random distractor for a picture of width x height pixels."""
    kind = KINDS[int(rng.integers(len(KINDS)))]
    return Distractor(
        kind=kind,
        colour=random_colour(rng),
        second_colour=random_colour(rng),
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
