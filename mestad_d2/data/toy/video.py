"""Renders one toy video: a real video file, and its label rows at every frame."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from mestad_d2.data.toy.figures import (
    ONE,
    draw_build,
    draw_look,
    paint_person,
    paint_thing,
)
from mestad_d2.data.toy.motion import plan_actors
from mestad_d2.data.toy.scene import draw_distractor, paint_background, paint_distractor
from mestad_d2.data.toy.tracks import Track, make_track

WIDTH, HEIGHT = 160, 128
MARGIN = 24  # pixels of background beyond each side, for the camera's drift
HIDDEN = 0.5  # a box of which less than this share is in view is not labelled


def camera_path(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Draw the camera's movement (T, 2) in pixels: none in a third of the videos, else a slow sway."""
    if rng.random() < 0.33:
        return np.zeros((len(times), 2))
    reach = np.array([rng.uniform(3, 14), rng.uniform(0, 4)])
    period = np.array([rng.uniform(6, 12), rng.uniform(4, 9)])
    return reach * np.sin(2 * np.pi * (times[:, None] / period + rng.random(2)))


def seen_boxes(track: Track, camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (T, 4) in [0, 1] of the picture, and whether enough of each is in view (T,)."""
    boxes = track.boxes - np.tile(camera, 2)
    clipped = np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])

    def area(b: np.ndarray) -> np.ndarray:
        return (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])

    return clipped / [WIDTH, HEIGHT, WIDTH, HEIGHT], area(clipped) >= HIDDEN * area(boxes)


def render_video(
    path: Path, name: str, seed: tuple[int, ...], fps: int, seconds: float, pace: float = 1.0
) -> list[str]:
    """Write the video ``path`` (mp4, 160x128, ``fps``) and return its rows of dense.csv.

    The picture depends on ``seed`` and ``pace`` (``plan_actors``) alone.

    Rows: video,time,x1,y1,x2,y2,action_id,person_id with the time of
    the frame in seconds, frame number / fps, to six digits; one row per frame, person and action.
    """
    rng = np.random.default_rng(list(seed))
    frames = round(seconds * fps)
    times = np.arange(frames) / fps
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.38, 0.28, 0.14]))
    actors = plan_actors(rng, count, seconds, WIDTH, HEIGHT, pace)
    builds = [draw_build(rng) for _ in actors]
    looks = [draw_look(rng) for _ in actors]
    things = [draw_distractor(rng, WIDTH, HEIGHT) for _ in range(int(rng.integers(1, 5)))]
    camera = camera_path(rng, times)
    background = paint_background(rng, WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)
    noise = rng.integers(0, 14, (6, HEIGHT, WIDTH, 3)).astype(np.uint8)
    tracks = [make_track(actor, build, frames, fps) for actor, build in zip(actors, builds, strict=True)]
    joints = [np.rint((track.joints - camera[:, None]) * ONE).astype(int).tolist() for track in tracks]
    order = sorted(range(count), key=lambda i: actors[i].feet_y)

    def paint(index: int) -> np.ndarray:
        dx, dy = camera[index]
        shift = np.array([[1, 0, -MARGIN - dx], [0, 1, -MARGIN - dy]])
        frame = cv2.warpAffine(background, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        for thing in things:
            if not thing.in_front:
                paint_distractor(frame, thing, times[index], (dx, dy))
        for i in order:
            size = actors[i].height
            limb = max(3, round(builds[i].limb * size))
            paint_person(frame, joints[i][index], looks[i], limb, int(builds[i].head * size * ONE))
            if tracks[i].labels[index, 1]:
                hand = joints[i][index][12 if actors[i].object_side == 1 else 11]
                paint_thing(frame, hand, looks[i], int(0.075 * size * ONE))
        for thing in things:
            if thing.in_front:
                paint_distractor(frame, thing, times[index], (dx, dy))
        return cv2.add(frame, noise[index % len(noise)])

    _encode(path, (paint(index) for index in range(frames)), fps)
    seen = [seen_boxes(track, camera) for track in tracks]
    rows = []
    for index in range(frames):
        for person, (track, (boxes, visible)) in enumerate(zip(tracks, seen, strict=True)):
            if visible[index]:
                box = ",".join(f"{value:.4f}" for value in boxes[index])
                for action in track.labels[index]:
                    if action:
                        rows.append(f"{name},{index / fps:.6f},{box},{action},{person}")
    return rows


def _encode(path: Path, pictures, fps: int) -> None:
    h264 = "libx264" in av.codecs_available
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if h264 else "mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = fps // 2  # short ways from a key picture to any clip
        if h264:
            stream.options = {"preset": "superfast", "crf": "21"}
        else:
            stream.bit_rate = 900_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
