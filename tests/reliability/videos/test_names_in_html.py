"""Names of classes, videos and labels are text in every page that is written, never markup."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mestad_d2.densify.detections.video import DetectedStretch
from mestad_d2.densify.review.page import write_page
from mestad_d2.densify.review.stretches import Card, Picture
from mestad_d2.densify.stretch import ActorLabels, Change, Stretch
from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.report.page import write_report
from mestad_d2.evaluation.rows import make_rows
from mestad_d2.formats.label_map import LabelMap
from mestad_d2.inference.app.session import summary_html
from mestad_d2.inference.results.timeline import Actor, write_timeline
from mestad_d2.people import Person
from mestad_d2.semisup.actors import Actor as DensifyActor
from mestad_d2.semisup.actors import KeyFrame, Track

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><script>alert(1)</script>",
    "<!-- <svg/onload=alert(1)> & $x^{ {} %s",
]
FRAME = np.zeros((40, 60, 3), np.uint8)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def report(name: str, folder: Path) -> str:
    """The evaluation report of a class and a video of that name, with pictures, in ``folder``."""
    keys = [f"{name},1.000000"]
    box, far = [0.1, 0.1, 0.4, 0.9], [0.5, 0.1, 0.9, 0.9]
    truth = make_rows(keys * 2, [box, far], [1, 1])
    found = make_rows(keys * 2, [box, [0.3, 0.1, 0.6, 0.9]], [1, 1], [0.9, 0.8])
    result = frame_map(truth, found, LabelMap({1: name}, {1: "pose"}))
    path = write_report(folder, result, LabelMap({1: name}), lambda video, time: FRAME, note=name)
    return path.read_text()


def review(name: str, folder: Path) -> str:
    """densify's review page of a video, an action and a reason of that name."""
    times = np.array([1.0, 1.5, 2.0])
    person = Person((0.1, 0.1, 0.4, 0.9), frozenset({1}), 7)
    boxes = np.tile(person.box, (3, 1))
    track = Track(np.ones(3, bool), boxes, np.ones(3), np.full((3, 1), 0.6), np.zeros(3), np.zeros(3, int))
    labels = ActorLabels(7, DensifyActor(person, None), np.ones(3), boxes, {1: np.array([1.0, 0.8, 0.2])}, track,
                         boxes, [Change(1, False, 1.7)])  # fmt: skip
    ends = KeyFrame(1.0, (person,)), KeyFrame(2.0, ())
    stretch = Stretch(
        DetectedStretch(name, *ends, times, [], (0, 1, 2), np.array([False, True, False])), [labels]
    )
    picture = Picture(1.0, base64.b64encode(b"jpeg").decode(), True)
    card = Card(stretch, labels, [], 0.4, [name])
    write_page(folder / "review.html", [(card, [picture])], 1, {1: name})
    return (folder / "review.html").read_text()


def timeline(name: str, folder: Path) -> str:
    """The app's summary of somebody who does an action of that name; its timeline is a picture."""
    actors = [Actor(1, [(0.0, 1.0)], {name: [(0.0, 1.0, 0.9)]})]
    write_timeline(folder / "timeline.png", actors, 1.0)
    assert (folder / "timeline.png").stat().st_size > 1000
    return summary_html(actors)


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("make", [report, review, timeline])
def test_names_are_text(make: object, name: str, tmp_path: Path) -> None:
    page, harmless = (Page(make(text, tmp_path)) for text in (name, "walk"))
    # The same tags and attributes as with a harmless name, so nothing of the name is one.
    assert [(tag, sorted(found)) for tag, found in page.tags] == [
        (tag, sorted(found)) for tag, found in harmless.tags
    ]
    assert not any(key.startswith("on") for _, found in page.tags for key in found)
    assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in page.tags}
    assert all((found.get("src") or "data:").startswith("data:") for _, found in page.tags)
    assert page.words.count(name) == harmless.words.count("walk") > 0
