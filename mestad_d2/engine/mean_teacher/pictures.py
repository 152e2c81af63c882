"""Draw pseudo labels and their sources, as in the paper's Fig. 4."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from detectron2.structures import Instances
from torch import Tensor

from mestad_d2.data.mapper import source_of
from mestad_d2.video.frames import read_frames

# Height of a panel, colours of people (RGB), and of background.
HEIGHT = 360
COLORS = [(230, 75, 53), (0, 114, 178), (0, 140, 100), (204, 121, 167), (213, 140, 0), (110, 80, 180)]
BACKGROUND = (110, 110, 110)


def draw_sample(
    item: dict, found: Instances, truth: Instances, names: dict[int, str], start: float
) -> np.ndarray:
    """Draw three panels side by side: left key frame, frame between with pseudo labels, right key frame.

    Key-frame people are numbered L1, L2, ..., R1, ...; a person between has the colour and number of the one
    whose labels it was given. Grey: no source (background, which L_ac ignores, or labels by threshold).

    Args:
        item: an unlabelled sample with ``geometry``; found: the teacher's; truth: the labeler's.
        names: action id -> name; start: timestamp of the file's first frame.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    left, right = item["left_instances"], item["right_instances"]
    keys = [f"L{i + 1}" for i in range(len(left))] + [f"R{i + 1}" for i in range(len(right))]
    colors = [COLORS[i % len(COLORS)] for i in range(len(keys))]
    labels = torch.cat([left.gt_actions, right.gt_actions])
    texts = [(c, [k, *_names(row, names)]) for c, k, row in zip(colors, keys, labels, strict=True)]
    between = [
        _between(index, texts, _names(row, names))
        for index, row in zip(truth.gt_source_index.tolist(), truth.gt_actions.cpu(), strict=True)
    ]
    middle = item["clip_weak"][:, item["clip_weak"].shape[1] // 2].permute(1, 2, 0).numpy()
    split = len(left)
    panels = [
        _panel(_key_frame(item, "left", start), left.gt_boxes.tensor, texts[:split], _title(item, "left")),
        _panel(
            middle, found.pred_boxes.tensor.cpu(), between, f"{item['video_id']} at {item['timestamp']:.2f} s"
        ),
        _panel(_key_frame(item, "right", start), right.gt_boxes.tensor, texts[split:], _title(item, "right")),
    ]
    return np.concatenate(panels, axis=1)


def _between(index: int, texts: list[tuple], actions: list[str]) -> tuple:
    """Colour and text lines of a person between key frames."""
    if index >= 0:
        color, lines = texts[index]
        return color, [f"as {lines[0]}", *actions]
    return BACKGROUND, actions or ["background"]


def _names(actions: Tensor, names: dict[int, str]) -> list[str]:
    return [names.get(int(i) + 1, str(int(i) + 1)) for i in actions.nonzero().squeeze(1)]


def _title(item: dict, side: str) -> str:
    time = item[f"{side}_timestamp"]
    return f"no {side} key frame" if time is None else f"{side} key frame at {time:g} s"


def _key_frame(item: dict, side: str, start: float) -> np.ndarray:
    time, geometry = item[f"{side}_timestamp"], item["geometry"]
    if time is None:
        return np.full((*geometry.size, 3), 235, dtype=np.uint8)
    frames = read_frames(source_of(item), [time - start], short_side=min(geometry.scaled))
    return geometry.clip(frames)[0]


def _panel(image: np.ndarray, boxes: Tensor, texts: list[tuple], title: str) -> np.ndarray:
    """A frame with boxes and texts, HEIGHT high below a line of title."""
    factor = HEIGHT / image.shape[0]
    image = cv2.resize(image, (round(image.shape[1] * factor), HEIGHT), interpolation=cv2.INTER_CUBIC)
    for box, (color, lines) in zip((boxes * factor).round().int().tolist(), texts, strict=True):
        cv2.rectangle(image, box[:2], box[2:], color, 2, cv2.LINE_AA)
        for row, text in enumerate(lines):
            x, y = max(box[0], 0), max(box[1], 0) + 15 * (row + 1)
            (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
            x = max(min(x, image.shape[1] - width - 4), 0)
            cv2.rectangle(image, (x, y - 13), (x + width + 4, y + 3), color, -1)
            cv2.putText(
                image, text, (x + 2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA
            )
    head = np.full((26, image.shape[1], 3), 30, dtype=np.uint8)
    cv2.putText(head, title, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.pad(np.concatenate([head, image]), ((0, 0), (0, 4), (0, 0)))
