"""Whole files through the tool against plain loops over Python's csv, and cases by hand."""

from __future__ import annotations

import csv
import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from brute_force import brute_force

from mestad_d2.errors import UserError
from mestad_d2.evaluation.evaluate_files import evaluate_files
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS

IDS = {1: "bend", 3: "crouch, kneel", 12: 'stand "up"', 80: "watch"}
PBTXT = "".join(f'item {{\n  name: "{n.split(chr(34))[0]}"\n  id: {i}\n}}\n' for i, n in IDS.items())


def read_plainly(path: Path, role: str, protocol: str) -> tuple[list[tuple], set[str]]:
    """Rows (frame, x1, y1, x2, y2, action, score) and named frames, as the published scripts read them."""
    rows, named = [], set()
    with path.open(newline="") as file:
        for fields in csv.reader(file):
            if protocol == "activitynet":
                frame = "%s,%.6f" % (fields[0], Decimal(fields[1]))  # noqa: UP031
            else:
                frame = "%s,%04d" % (fields[0], int(fields[1]))  # noqa: UP031
            named.add(frame)
            if len(fields) == 2:
                continue
            scored = len(fields) == 8 and (protocol == "activitynet" or role == "det")
            box = tuple(float(field) for field in fields[2:6])
            rows.append((frame, *box, int(fields[6]), float(fields[7]) if scored else 1.0))
    return rows, named


def write_world(folder: Path, seed: int, protocol: str) -> None:
    """Files with every oddity that the protocol accepts."""
    rng = np.random.default_rng(seed)
    official = protocol == "activitynet"
    seconds = ["0902", "902", "00903"] + (["902.0", "903.5", "9.03e2"] if official else [])
    frames = [f"{video},{second}" for video in ("v", '"a,b"', "ü") for second in seconds]
    levels = rng.choice([3, 10, 10**6])

    def lines(count: int, role: str) -> list[str]:
        made = []
        for _ in range(count):
            corners = np.sort(rng.integers(0, 6, (2, 2)), axis=0).astype(float)
            # Only detections may be without extent here: ground truth of that kind is refused.
            corners[1] += 0.5 if role == "gt" else rng.choice([0.5, 0.5, 0.5, -1])
            box = ",".join(repr(v) for v in (corners / 6).ravel().tolist())
            action = rng.choice([*IDS, *IDS, 2, 81])
            row = f"{rng.choice(frames)},{box},{action}"
            last = rng.integers(0, 3) if role == "gt" else rng.integers(0, levels) / levels
            full = rng.random() < 0.8 or (role == "det" and not official)
            made.append(f"{row},{last}" if full else row)
            if official and rng.random() < 0.1:
                made.append(str(rng.choice(frames)))
        return made

    gt = lines(rng.integers(0, 40), "gt")
    det = lines(rng.choice([0, 1, 60, 400]), "det")
    if seed % 4 == 0:
        gt = [row for row in gt if not row.startswith("v")]
    (folder / "g.csv").write_text("".join(f"{row}\n" for row in gt))
    (folder / "d.csv").write_text("".join(f"{row}\n" for row in det))
    excluded = rng.choice(frames, rng.integers(0, 3)).tolist()
    (folder / "e.csv").write_text("".join(f"{row}\n" for row in excluded))


def evaluate(folder: Path, protocol: str) -> dict:
    """What the tool writes."""
    paths = [str(folder / name) for name in ("g.csv", "d.csv", "l.pbtxt", "e.csv")]
    evaluate_files(*paths, protocol=protocol, output=str(folder / "f.json"))
    return json.loads((folder / "f.json").read_text())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(40))
def test_random_files(tmp_path: Path, seed: int, protocol: str) -> None:
    write_world(tmp_path, seed, protocol)
    (tmp_path / "l.pbtxt").write_text(PBTXT)
    gt, named = read_plainly(tmp_path / "g.csv", "gt", protocol)
    det, _ = read_plainly(tmp_path / "d.csv", "det", protocol)
    if protocol == "activitynet":
        det = [row for row in det if row[0] in named]
        # Frames that are only named count as annotated.
        gt_rows, annotated = gt, named - {row[0] for row in gt}
        gt_rows = gt + [(frame, 0.0, 0.0, 1.0, 1.0, -1, 1.0) for frame in sorted(annotated)]
        excluded = set()
    else:
        gt_rows = gt
        excluded = read_plainly(tmp_path / "e.csv", "gt", protocol)[1]
    want = brute_force(gt_rows, det, set(IDS), protocol, excluded)
    got = evaluate(tmp_path, protocol)
    assert set(got["per_class"]) == {str(i) for i in IDS}
    for action, (ap, num_gt, num_det, num_tp) in want.items():
        c = got["per_class"][str(action)]
        assert (c["num_gt"], c["num_det"], c["num_tp"]) == (num_gt, num_det, num_tp)
        assert c["ap"] is None if math.isnan(ap) else abs(c["ap"] - ap) < 1e-9
    counted = [w for w in want.values() if protocol != "mmaction2" or w[2]]
    aps = [w[0] for w in counted if not math.isnan(w[0])]
    assert got["mAP"] is None if not aps else abs(got["mAP"] - np.mean(aps)) < 1e-9


GT = "v,0902,0,0,1,1,1,0\nv,0903,0,0,1,1,3,0\n"
HIT, MISS = "v,0902,0,0,1,1,1,0.5\n", "v,0902,0,0,0.1,1,1,0.9\n"
# Ground truth, detections, exclusions, then mAP under activitynet and slowfast.
BY_HAND = [
    ("no detections", GT, "", "", 0.0, 0.0),
    ("no ground truth", "", HIT, "", None, None),
    ("neither", "", "", "", None, None),
    ("one of two classes", GT, HIT, "", 0.5, 0.5),
    ("a surer false one", GT, HIT + MISS, "", 0.25, 0.25),
    ("detections in excluded frames only", GT, HIT, "v,0902\n", 0.5, 0.0),
    ("everything excluded", GT, HIT, "v,0902\nv,0903\n", 0.5, None),
    ("another frame", GT, "v,0950,0,0,1,1,1,0.9\n" + HIT, "", 0.5, 0.25),
    ("another video", GT, "w,0902,0,0,1,1,1,0.9\n" + HIT, "", 0.5, 0.25),
    ("classes that do not count", GT + "v,0902,0,0,1,1,2,0\n", HIT + "v,0902,0,0,1,1,2,0.9\n", "", 0.5, 0.5),
    ("a class without ground truth", GT, HIT + "v,0902,0,0,1,1,80,0.9\n", "", 0.5, 0.5),
    ("negative scores", GT, HIT.replace("0.5", "-3") + MISS.replace("0.9", "-20"), "", 0.5, 0.5),
    # The second is false, and of equal scores the later row ranks first.
    ("the same twice", GT, HIT + HIT, "", 0.25, 0.25),
    ("ties: the later row ranks first", GT, HIT + MISS.replace("0.9", "0.5"), "", 0.5, 0.25),
    ("of a tie the first may be wrong", GT, MISS.replace("0.9", "0.5") + HIT, "", 0.5, 0.5),
    (
        "Windows lines and a mark",
        "\ufeff" + GT.replace("\n", "\r\n"),
        HIT.replace("\n", "\r\n"),
        "",
        0.5,
        0.5,
    ),
]


@pytest.mark.parametrize(
    ("gt", "det", "exclude", "official", "slowfast"), [c[1:] for c in BY_HAND], ids=[c[0] for c in BY_HAND]
)
def test_by_hand(
    tmp_path: Path, gt: str, det: str, exclude: str, official: float | None, slowfast: float | None
) -> None:
    for name, text in {"g.csv": gt, "d.csv": det, "e.csv": exclude, "l.pbtxt": PBTXT}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    got = [evaluate(tmp_path, protocol)["mAP"] for protocol in ("activitynet", "slowfast")]
    assert got == [official, slowfast]


def test_fractional_timestamps_need_activitynet(tmp_path: Path) -> None:
    (tmp_path / "l.pbtxt").write_text(PBTXT)
    (tmp_path / "e.csv").write_text("")
    (tmp_path / "g.csv").write_text("v,3.48,0,0,1,1,1,0\nv,3.52,0,0,1,1,1,0\nv,4,,,,,,\n")
    (tmp_path / "d.csv").write_text("v,3.4800001,0,0,1,1,1,0.5\nv,3.520,0,0,1,1,1,0.5\nv,4.0,0,0,1,1,1,0.9\n")
    got = evaluate(tmp_path, "activitynet")["per_class"]["1"]
    # The frame without people makes a false positive of the surest detection.
    assert (got["num_gt"], got["num_det"], got["num_tp"]) == (2, 3, 2)
    assert got["ap"] == pytest.approx((1 / 2 + 2 / 3) / 2 + (2 / 3 - 1 / 2) / 2)
    with pytest.raises(UserError, match="g.csv, row 1: timestamp is '3.48'"):
        evaluate(tmp_path, "slowfast")
