"""Person AP through pycocotools: the truth that our own counting is held against."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def coco_person_ap(
    truth: dict[str, np.ndarray], found: dict[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """AP50, AP50:95 and AR@10; arguments as ``person_ap``, with a box and a detection at least."""
    nothing = (np.empty((0, 4)), np.empty(0))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            _coco([(truth[key], None) for key in truth]),
            _coco([found.get(key, nothing) for key in truth]),
            iouType="bbox",
        )
        evaluation.params.maxDets = [1, 10, 100]
        # Only the range over all sizes: the others cost three times as much and mean nothing in fractions.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 2]
    recall = evaluation.eval["recall"][:, 0, 0, 1]
    return {"AP50": precision[0].mean(), "AP50:95": precision.mean(), "AR@10": recall.mean()}


def _coco(frames: list[tuple[np.ndarray, np.ndarray | None]]) -> COCO:
    annotations = []
    for image_id, (boxes, scores) in enumerate(frames):
        for i, (x1, y1, x2, y2) in enumerate(np.asarray(boxes, dtype=np.float64).tolist()):
            w, h = x2 - x1, y2 - y1
            entry = {
                # pycocotools takes id 0 for "no match".
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": 1,
                "bbox": [x1, y1, w, h],
                "area": w * h,
                "iscrowd": 0,
            }
            if scores is not None:
                entry["score"] = float(scores[i])
            annotations.append(entry)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(len(frames))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
