#!/bin/sh
# torchmetrics keeps the thresholds of recall and IoU as 32-bit numbers, so that 0.6 is a little more than 0.6. Where a
# recall meets a threshold exactly (6 of 10 people found), its AP is one step of 101 lower than that of pycocotools on
# the same boxes; with few people a video the difference is seen in the second digit. With more than 100 detections an
# image allowed (crowds), `map` is -1.0 without a message, while `map_50` is a number.
#
# Packages: torchmetrics 1.9.0, pycocotools 2.0.11. PYTHON has to be an interpreter with torch and torchvision.
# Expected: the AP of pycocotools, 61/101, and a `map` with 300 detections. Seen: 60/101, and -1.0; exit code 1 if that
# changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/packages" torchmetrics==1.9.0 lightning-utilities==0.15.3 \
    pycocotools==2.0.11
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import contextlib
import io
import sys

import torch
import torchmetrics
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision

assert "/packages/" in torchmetrics.__file__, torchmetrics.__file__
people = [[50.0 * n, 10.0, 50.0 * n + 40.0, 90.0] for n in range(10)]
found = people[:6]
scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]

with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO()
    truth.dataset = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "person"}], "annotations": []}
    for number, (x0, y0, x1, y1) in enumerate(people, 1):
        box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
        truth.dataset["annotations"].append({"id": number, "image_id": 1, "category_id": 1, **box})
    truth.createIndex()
    results = [
        {"image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for (x0, y0, x1, y1), score in zip(found, scores, strict=True)
    ]
    detections = truth.loadRes(results)
    evaluator = COCOeval(truth, detections, "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
coco = evaluator.stats[1]


def measure(**options):
    metric = MeanAveragePrecision(**options)
    predicted = {"boxes": torch.tensor(found), "scores": torch.tensor(scores), "labels": torch.ones(6, dtype=torch.long)}
    metric.update([predicted], [{"boxes": torch.tensor(people), "labels": torch.ones(10, dtype=torch.long)}])
    return metric.compute()


plain, crowd = measure(), measure(max_detection_thresholds=[1, 10, 300])
print(f"AP50: pycocotools {coco:.6f}, torchmetrics {float(plain['map_50']):.6f}")
print(f"300 detections an image: map {float(crowd['map'])}, map_50 {float(crowd['map_50']):.6f}")
same = abs(coco - 61 / 101) < 1e-9 and abs(float(plain["map_50"]) - 60 / 101) < 1e-6 and float(crowd["map"]) == -1
sys.exit(not same)
END_PYTHON
