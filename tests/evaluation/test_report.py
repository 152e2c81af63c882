"""The report page: complete, self-contained, safe with any name, and true to its pictures."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mestad_d2.errors import UserError
from mestad_d2.evaluation.frame_map.score import FrameMAP, frame_map
from mestad_d2.evaluation.report.examples import best_false_positives, best_misses, false_positive_kinds
from mestad_d2.evaluation.report.page import write_report
from mestad_d2.evaluation.report.pictures import draw
from mestad_d2.evaluation.rows import make_rows
from mestad_d2.formats.label_map import LabelMap

NASTY = '<script>alert("x")</script>'
LABELS = LabelMap({1: NASTY, 2: "walk & talk", 3: "nothing"}, {1: "pose", 2: "person"})
VIDEO = '"><img src=x onerror=alert(1)>'
A, B = [0.1, 0.1, 0.4, 0.9], [0.6, 0.1, 0.9, 0.9]
FAR_A, NEAR_B, EMPTY = [0.25, 0.1, 0.55, 0.9], [0.6, 0.1, 0.9, 0.8], [0.42, 0.0, 0.5, 0.05]


def _result(video: str = VIDEO) -> FrameMAP:
    keys = [f"{video},1.000000"] * 3 + [f"{video},2.000000"] * 2
    gt = make_rows(keys, [A, B, B, A, B], [1, 1, 2, 1, 2])
    det = make_rows(
        [keys[0]] * 6 + [keys[3]],
        [A, A, FAR_A, NEAR_B, EMPTY, B, A],
        [1, 1, 1, 2, 2, 2, 2],
        [0.9, 0.8, 0.7, 0.6, 0.95, 0.3, 0.5],
    )
    return frame_map(gt, det, LABELS)


class _Page(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        # Table headers may be left open in HTML.
        if tag not in ("meta", "img", "br", "th"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page(tmp_path: Path) -> None:
    path = write_report(tmp_path / "new", _result(), LABELS, note="a <b>remark</b>")
    text = path.read_text()
    page = _Page(text)
    assert not any(tag in ("script", "link", "iframe") for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert not re.search(r"https?://|url\(|@import", text)
    assert "a &lt;b&gt;remark&lt;/b&gt;" in text
    assert "&lt;script&gt;" in text and "walk &amp; talk" in text
    assert sum(tag == "polyline" for tag, _ in page.tags) == 2
    assert "nothing" not in text
    assert not any(tag == "img" for tag, _ in page.tags)


def test_examples_by_hand() -> None:
    result = _result()
    # Class 1 has 3 boxes: its best 3 are true, twice, place. Class 2 has 2: nobody, true.
    assert false_positive_kinds(result) == {"twice": 1, "place": 1, "nobody": 1}
    wrong = best_false_positives(result)
    assert [(e.score, e.action_id) for e in wrong] == [(0.95, 2), (0.8, 1), (0.7, 1)]
    assert wrong[1].other == tuple(A) and wrong[0].other is None
    assert (wrong[0].video, wrong[0].timestamp) == (VIDEO, 1.0)
    assert [e.score for e in best_false_positives(result, per_class=1)] == [0.95, 0.8]
    missed = best_misses(result)
    assert sorted((e.timestamp, e.action_id, e.box) for e in missed) == [
        (1.0, 1, tuple(B)),
        (2.0, 1, tuple(A)),
        (2.0, 2, tuple(B)),
    ]


def test_a_person_who_does_something_else_is_named() -> None:
    gt = make_rows(["v,1", "v,1", "v,2"], [A, A, B], [2, 3, 1])
    det = make_rows(["v,1"], [A], [1], [0.9])
    (example,) = best_false_positives(frame_map(gt, det, LABELS))
    assert example.remark == "annotated: walk & talk, nothing"


def _grey(video: str, timestamp: float) -> np.ndarray | None:
    return np.full((96, 160, 3), 90, np.uint8) if timestamp < 2 else None


def test_pictures(tmp_path: Path) -> None:
    page = _Page(write_report(tmp_path, _result(), LABELS, frames=_grey).read_text())
    sources = [a["src"] for tag, a in page.tags if tag == "img"]
    # Of three false positives and three misses, two misses lie at 2 s.
    assert len(sources) == 4
    assert all(s.startswith("data:image/jpeg;base64,") for s in sources)


def test_marks_lie_on_the_box() -> None:
    example = best_misses(_result())[0]
    picture = draw(np.zeros((100, 200, 3), dtype=np.uint8), example)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1]))).convert("RGB")).astype(
        int
    )
    orange = (image[..., 0] > 150) & (image[..., 2] < 120)
    ys, xs = np.nonzero(orange)
    x1, y1, x2, y2 = example.box
    assert (xs.max() - xs.min()) / (ys.max() - ys.min()) == pytest.approx((x2 - x1) * 2 / (y2 - y1), rel=0.08)


def test_without_detections_or_ground_truth(tmp_path: Path) -> None:
    none = make_rows([], [], [])
    for gt in (none, make_rows(["v,1"], [A], [1])):
        _Page(write_report(tmp_path, frame_map(gt, none, LABELS), LABELS).read_text())
    det = make_rows(["v,1"], [A], [1], [0.5])
    _Page(write_report(tmp_path, frame_map(none, det, LABELS, "slowfast"), LABELS).read_text())


def test_a_bad_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not written"):
        write_report(tmp_path / "file", _result(), LABELS)
