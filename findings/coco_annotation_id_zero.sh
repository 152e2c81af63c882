#!/bin/sh
# pycocotools marks a detection as matched by writing the id of the annotation, and 0 means "not matched". A person whose
# annotation has the id 0, as converters that count from 0 write it, therefore can't be found: the perfect detection of
# it is a false positive. The file is read without a message. Count annotation ids from 1.
#
# Packages: pycocotools 2.0.11, numpy 2.4.6.
# Expected: AP 1.0 for perfect detections, whatever the ids. Seen: 1.0 with the ids 1 and 2, 0.252 with 0 and 1; exit
# code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --target "$folder/packages" pycocotools==2.0.11 numpy==2.4.6
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import contextlib
import io
import sys

import pycocotools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

assert "/packages/" in pycocotools.__file__, pycocotools.__file__
people = [[10.0, 10.0, 40.0, 80.0], [90.0, 20.0, 30.0, 70.0]]


def average_precision(first_id):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "person"}]}
        truth.dataset["annotations"] = [
            {"id": first_id + n, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, box in enumerate(people)
        ]
        truth.createIndex()
        results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9 - 0.1 * n} for n, box in enumerate(people)]
        evaluator = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return round(float(evaluator.stats[0]), 3)


seen = {first: average_precision(first) for first in (1, 0)}
print("AP of perfect detections by the first annotation id:", seen)
sys.exit(seen != {1: 1.0, 0: 0.252})
END_PYTHON
