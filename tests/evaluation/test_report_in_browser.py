"""The report page as a browser shows it: charts and pictures are there, and no name becomes markup."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.report.page import write_report
from mestad_d2.evaluation.rows import make_rows
from mestad_d2.formats.label_map import LabelMap

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser with")

NAMES = {
    1: "<script>window.hacked = 1</script>",
    2: "<img src=x onerror='window.hacked=2'>",
    3: "walk & talk",
}
LABELS = LabelMap(
    {**NAMES, 4: "a name as long as people write them " * 4}, {1: "pose", 2: "object", 3: "person"}
)
VIDEO = "</figcaption><svg onload='window.hacked=3'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 300 random frames of four classes."""
    rng = np.random.default_rng(0)
    keys = [f"{VIDEO},{i}.000000" for i in range(300)]
    low = rng.random((300, 2)) * 0.5
    boxes = np.concatenate([low, low + 0.3], axis=1)
    actions = rng.choice([1, 2, 3, 4], 300, p=[0.5, 0.3, 0.15, 0.05])
    found = np.concatenate([boxes + rng.normal(0, 0.03, boxes.shape), rng.permutation(boxes)])
    scores = np.concatenate([rng.beta(3, 2, 300), rng.beta(2, 4, 300)])
    det = make_rows(keys * 2, found, np.concatenate([actions, rng.permutation(actions)]), scores)
    result = frame_map(make_rows(keys, boxes, actions), det, LABELS)
    gradient = np.linspace(0, 255, 240 * 320 * 3).reshape(240, 320, 3).astype(np.uint8)
    folder = tmp_path_factory.mktemp("report")
    return write_report(folder, result, LABELS, frames=lambda *_: gradient, note="a <b>remark</b>")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
def test_the_page_in_a_browser(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_load_state("networkidle")
    assert problems == []
    # One file that needs nothing else: pictures lie in the page.
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("window.hacked") is None and page.locator("script").count() == 0
    text = page.locator("body").inner_text()
    assert all(name in text for name in NAMES.values()) and VIDEO in text and "a <b>remark</b>" in text

    # Bars are as long as the AP beside them says.
    bars = page.evaluate(
        """() => [...document.querySelectorAll('table tr')].filter(r => r.querySelector('td.track'))
        .map(r => [parseFloat(r.querySelector('.ap').innerText),
                   r.querySelector('.bar').offsetWidth / (r.querySelector('.track').clientWidth - 16)])"""
    )
    assert len(bars) >= 4
    for percent, share in bars:
        assert share == pytest.approx(percent / 100, abs=0.03)

    # Every chart has a visible size; each class has a curve inside its axes and a histogram of both kinds.
    assert page.locator(".curves section").count() == 4
    for section in page.locator(".curves section").all():
        boxes = [svg.bounding_box() for svg in section.locator("svg").all()]
        assert len(boxes) == 2 and all(b["width"] > 100 and b["height"] > 50 for b in boxes)
        axis, curve = (section.locator(s).first.bounding_box() for s in (".axis", ".curve"))
        assert curve["x"] >= axis["x"] - 2 and curve["x"] + curve["width"] <= axis["x"] + axis["width"] + 2
        assert section.locator("rect.true").count() > 0 and section.locator("rect.false").count() > 0
    pictures = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.offsetWidth])")
    assert len(pictures) > 8 and all(done and real > 50 and shown > 50 for done, real, shown in pictures)

    # Nothing sticks out to the side, on a telephone neither.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if folder := os.environ.get("MESTAD_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/report_{width}.png", full_page=True)
    page.close()
