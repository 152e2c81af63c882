"""The greedy linking of ACT, which MOC and mmaction2 vary: tubelets of K frames into tubes, class by class.

Source: BuildTubes of vkalogeiton/caffe act-detector a431461 and MCG-NJU/MOC-Detector 45c3fd0, link_tubes of
open-mmlab/mmaction2 4d6c934; their conventions are the fields of ``BuildSettings``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from mestad_d2.evaluation.tubes.overlap import box_iou
from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import Tubelets, Tubes, tubes_of


@dataclass(frozen=True)
class BuildSettings:
    """Conventions of one variant.

    Attributes:
        nms: tubelets that overlap a better one by more than this are suppressed.
        soft: instead, their score is multiplied by 1 - the **sum** of their K IoUs, which may be negative.
        top: best tubelets of a start frame that are kept.
        link: least IoU of a tube's last tubelet with the next one.
        link_pixels: "inclusive" or "continuous", see ``Rules``; suppression is always "inclusive".
        patience: start frames after which an unmatched tube ends; None: K.
        least_score: tubes below it are dropped.
        least_length: ... and those that span fewer frames.
    """

    nms: float
    soft: bool
    link: float
    least_score: float
    patience: int | None = None
    link_pixels: str = "inclusive"
    top: int = 10
    least_length: int = 15


# ACT bridges up to four missing start frames; with K = 1 such frames stay holes (NaN). MOC ends at the first miss.
ACT = BuildSettings(nms=0.3, soft=False, link=0.2, least_score=0.01, patience=5)
MOC = BuildSettings(nms=0.6, soft=True, link=0.5, least_score=0.005)
MMACTION2 = replace(MOC, link_pixels="continuous")


@dataclass
class _Tube:
    """Start frames, boxes (K, 4) and scores of the tubelets so far."""

    starts: list[int]
    boxes: list[np.ndarray]
    scores: list[float]

    def score(self) -> float:
        return float(np.mean(self.scores))


def build_tubes(found: Tubelets, dataset: TubeDataset, settings: BuildSettings) -> Tubes:
    """Link tubelets (or frame detections as tubelets of one frame) of all videos.

    Args:
        found: of the videos of ``dataset``; starts whose tubelet would reach beyond the video are left out.
    """
    k = found.boxes.shape[1]
    rows: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    keys = zip(found.video.tolist(), found.label.tolist(), found.frame.tolist(), strict=True)
    for row, (video, label, start) in enumerate(keys):
        rows[video, label][start].append(row)
    parts = []
    for (video, label), by_start in sorted(rows.items()):
        starts = dataset.videos[video].frames or max(by_start) + k - 1
        tubes = _link(found, by_start, starts - k + 1, settings)
        for tube in tubes:
            score = tube.score()
            if (
                score >= settings.least_score
                and tube.starts[-1] + k - tube.starts[0] >= settings.least_length
            ):
                parts.append((video, label, score, *_mean_boxes(tube, k)))
    return tubes_of(found.videos, parts)


def _link(found: Tubelets, by_start: dict[int, list[int]], last: int, settings: BuildSettings) -> list[_Tube]:
    k = found.boxes.shape[1]
    patience = settings.patience or k
    live: list[_Tube] = []
    ended: list[_Tube] = []
    for start in range(1, last + 1):
        if start not in by_start and not live:
            continue
        boxes, scores = _best(found, by_start.get(start, []), settings)
        left = list(range(len(scores)))
        # A stable sort: published ties are broken by age.
        live.sort(key=lambda tube: -tube.score())
        over = []
        for tube in live:
            offset = start - tube.starts[-1]
            fits = _fits(tube.boxes[-1], boxes[left], offset, settings.link_pixels) >= settings.link
            valid = [row for row, fit in zip(left, fits, strict=True) if fit]
            if valid:
                # The best score wins, not the best overlap.
                row = max(valid, key=lambda r: scores[r])
                left.remove(row)
                tube.starts.append(start)
                tube.boxes.append(boxes[row])
                tube.scores.append(float(scores[row]))
            elif offset >= patience:
                over.append(tube)
        ended += over[::-1]
        live = [tube for tube in live if not any(tube is other for other in over)]
        live += [_Tube([start], [boxes[row]], [float(scores[row])]) for row in left]
    return ended + live


def _fits(last: np.ndarray, boxes: np.ndarray, offset: int, pixels: str) -> np.ndarray:
    """Mean IoU over the frames that both tubelets cover; else of the first boxes with the last box."""
    n, k = boxes.shape[:2]
    if not n:
        return np.empty(0)
    common = k - offset
    if common > 0:
        ious = box_iou(boxes[:, :common].reshape(-1, 4), np.tile(last[offset:], (n, 1)), pixels)
        return ious.reshape(n, common).mean(1)
    return box_iou(boxes[:, 0], np.broadcast_to(last[-1], (n, 4)), pixels)


def _best(found: Tubelets, rows: list[int], settings: BuildSettings) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, K, 4) and scores of the best tubelets of a start frame after suppression, best first."""
    boxes, scores = found.boxes[rows], found.score[rows].copy()
    k = boxes.shape[1]
    # Among equal scores the later row comes first.
    order = np.argsort(scores, kind="stable")[::-1]
    kept, weight = [], np.ones(len(rows))
    while len(order):
        best, others = order[0], order[1:]
        kept.append(best)
        if not settings.soft and len(kept) == settings.top:
            break
        a = np.tile(boxes[best], (len(others), 1))
        overlap = box_iou(boxes[others].reshape(-1, 4), a, "inclusive").reshape(-1, k).sum(1)
        gone = overlap > settings.nms * k
        weight[others[gone]] = 1 - overlap[gone]
        order = others[~gone]
    if settings.soft:
        scores *= weight
        kept = np.argsort(scores, kind="stable")[::-1][: settings.top]
    return boxes[kept], scores[kept]


def _mean_boxes(tube: _Tube, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Every frame from first to last with the mean of the boxes that cover it; NaN where none does."""
    first = tube.starts[0]
    length = tube.starts[-1] + k - first
    total, count = np.zeros((length, 4)), np.zeros(length)
    for start, boxes in zip(tube.starts, tube.boxes, strict=True):
        total[start - first : start - first + k] += boxes
        count[start - first : start - first + k] += 1
    with np.errstate(invalid="ignore"):
        return np.arange(first, first + length), total / count[:, None]


def link_act(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link tubelets as ACT does (ICCV 2017; vkalogeiton/caffe act-detector a431461)."""
    return build_tubes(found, dataset, ACT)


def link_moc(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link tubelets as MOC does (ECCV 2020; MCG-NJU/MOC-Detector 45c3fd0)."""
    return build_tubes(found, dataset, MOC)


def link_mmaction2(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link detections as mmaction2's link_tubes does, with its bug (open-mmlab/mmaction2 4d6c934).

    Every box gets the score of the last row of all detections, so that tubes are ranked arbitrarily.
    """
    last = found.score[-1] if len(found) else 0.0
    return build_tubes(replace(found, score=np.full(len(found), last)), dataset, MMACTION2)


def link_mmaction2_scorefix(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link detections as mmaction2's link_tubes would with each row's own score (not official)."""
    return build_tubes(found, dataset, MMACTION2)
