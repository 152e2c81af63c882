"""The app: what it refuses, what it leaves, and what people see of it in a browser."""

from __future__ import annotations

import gc
import importlib.util
import re
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from app_server import running_app
from numbered_video import write_numbered_video

from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.app import session as app_session
from mestad_d2.inference.app.session import AppSession, Limits, Superseded, limited, safe_stem, summary_html
from mestad_d2.inference.results.drawing import track_color
from mestad_d2.inference.results.timeline import Actor, actors_of, write_timeline
from mestad_d2.people import People
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES = ActionNames({1: "stand", 2: "cost $5 & $6 <b>"})
# How many pixels of the annotated video have about the given colour.
COUNT_COLOR = """color => {
    const video = document.querySelector('#annotated video'), canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const pen = canvas.getContext('2d');
    pen.drawImage(video, 0, 0);
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < data.length; i += 4)
        count += color.every((value, c) => Math.abs(data[i + c] - value) < 40);
    return count;
}"""


def keyframe(time: float, actions: list[list[float]], scores: list[float] | None = None) -> People:
    """One person a row of ``actions``, tracks 1, 2 ..."""
    count = len(actions)
    boxes = np.array([[20 * i, 10, 20 * i + 15, 50] for i in range(count)], np.float32).reshape(-1, 4)
    scores = np.array(scores or [0.9] * count, np.float32)
    values = np.array(actions, np.float32).reshape(-1, 2)
    return People(time, boxes, scores, values, np.arange(1, count + 1), 64, 160)


class Kept(np.ndarray):
    """An array that can be watched for its end."""


class FakePredictor:
    """Two people at three key frames of every video; counts how often it runs."""

    runs = 0
    keyframes_per_second = 2.0

    def predict(self, video: Path) -> Iterator[People]:
        self.runs += 1
        yield keyframe(0.0, [[0.9, 0.1], [0.2, 0.8]])
        yield keyframe(0.5, [[0.9, 0.6]])
        yield keyframe(1.0, [[0.4, 0.1], [0.2, 0.8]], [0.9, 0.35])


@pytest.fixture
def session(tmp_path: Path) -> AppSession:
    """A session without a model, for videos of up to 3 s."""
    (tmp_path / "files").mkdir()
    return AppSession(FakePredictor(), NAMES, Limits(seconds=3), tmp_path / "files")


def test_memory_is_returned_after_every_request_also_a_failed_one(
    session: AppSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref] = []
    at_return: list[bool] = []

    def counted() -> None:
        gc.collect()
        at_return.append(any(item() is not None for item in held))

    monkeypatch.setattr(app_session, "return_freed_memory", counted)
    write_numbered_video(tmp_path / "v.mp4", 20, Fraction(20))
    analysis = session.analyse(str(tmp_path / "v.mp4"))
    session.draw(analysis, 0.3, 0.0)
    assert at_return == [False, False]

    def failing(video: object) -> Iterator[People]:
        clip = np.zeros(1000).view(Kept)
        held.append(weakref.ref(clip))
        yield keyframe(0.0, [[0.9, 0.1]])
        raise UserError("broken in the middle")

    monkeypatch.setattr(session.predictor, "predict", failing)
    with pytest.raises(UserError, match="broken in the middle"):
        session.analyse(str(tmp_path / "v.mp4"))
    # The error does not keep the clips of the video.
    assert held and at_return == [False, False, False]


def test_spans_by_hand() -> None:
    found = list(FakePredictor().predict(Path()))
    first, second = actors_of(found, NAMES, 0.5, end=1.4)
    assert first == Actor(
        1, [(0, 0.5), (0.5, 1), (1, 1.4)],
        {"stand": [(0, 0.5, pytest.approx(0.9)), (0.5, 1, pytest.approx(0.9))],
         NAMES[2]: [(0.5, 1, pytest.approx(0.6))]},
    )  # fmt: skip
    assert second.seen == [(0, 0.5), (1, 1.4)] and list(second.actions) == [NAMES[2]]
    assert first.seconds() == pytest.approx(1.4)


def test_timeline_of_nobody_of_many_and_of_odd_names(tmp_path: Path) -> None:
    many = [keyframe(float(t), [[0.9, 0.8]] * 40) for t in range(3)]
    for name, found in (("nobody", []), ("many", many)):
        write_timeline(tmp_path / f"{name}.png", actors_of(found, NAMES, 0.5, 3.0), 3.0)
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_names_are_escaped() -> None:
    actors = actors_of([keyframe(0, [[0, 0.9]])], ActionNames({2: "<script>alert(1)</script>"}), 0.5, 1.0)
    assert "<script>" not in summary_html(actors) and "&lt;script&gt;" in summary_html(actors)
    assert "Nobody" in summary_html([])
    for bad in ('=cmd("x").mp4', "../../etc/passwd", "\x00\n.mp4", "<img src=x>.webm", "." * 300):
        assert re.fullmatch(r"\w[\w.-]{0,79}", safe_stem(Path(bad)))


def test_thresholds_change_without_the_model(session: AppSession, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "my clip.mp4", 28, Fraction(20))
    analysis = session.analyse(str(tmp_path / "my clip.mp4"))
    (tmp_path / "my clip.mp4").unlink()
    rows = []
    for score, person in ((0.5, 0.3), (0.7, 0.3), (0.7, 0.5)):
        drawn = session.draw(analysis, score, person)
        assert drawn.video.name == "my_clip.mp4" and drawn.video.stat().st_size > 1000
        assert drawn.tubes.stat().st_size > 1000
        rows.append(len(drawn.csv.read_text().splitlines()))
    assert rows == [5, 4, 3] and session.predictor.runs == 1
    session.forget(analysis)
    assert not list(session.folder.iterdir())
    with pytest.raises(UserError, match="upload it again"):
        session.draw(analysis, 0.5, 0.5)


def open_fonts() -> int:
    """Files of fonts that this process keeps open."""
    return sum("/fonts/" in str(link.resolve()) for link in Path("/proc/self/fd").iterdir())


def test_visitors_served_by_new_threads_leave_no_fonts_open(session: AppSession, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 20, Fraction(20))
    analysis = session.analyse(str(tmp_path / "v.mp4"))
    session.draw(analysis, 0.5, 0.0)
    before = open_fonts()
    for _ in range(3):
        visitor = threading.Thread(target=session.draw, args=(analysis, 0.5, 0.0))
        visitor.start()
        visitor.join()
    assert open_fonts() == before > 0


@pytest.mark.parametrize("name", ["input.mp4", "upload.mp4", "timeline.png.mp4"])
def test_uploads_named_as_working_files_stay_whole(session: AppSession, tmp_path: Path, name: str) -> None:
    write_numbered_video(tmp_path / name, 28, Fraction(20))
    before = (tmp_path / name).read_bytes()
    analysis = session.analyse(str(tmp_path / name))
    for _ in range(2):
        drawn = session.draw(analysis, 0.5, 0.3)
        assert sum(1 for _ in iterate_frames(drawn.video)) == 28
    session.forget(analysis)
    assert (tmp_path / name).read_bytes() == before


def test_limits_and_what_is_no_video_leave_nothing(session: AppSession, tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "long.mp4", 80, Fraction(20))
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(UserError, match="^4 s are longer than 3 s; cut the video$"):
        session.analyse(str(tmp_path / "long.mp4"))
    with pytest.raises(UserError, match=r"^input.mp4: no video that can be read"):
        session.analyse(str(tmp_path / "text.mp4"))
    write_numbered_video(tmp_path / "short.mp4", 20, Fraction(20))
    session.limits = Limits(seconds=3, wait=-1)
    with pytest.raises(UserError, match="not done after"):
        session.analyse(str(tmp_path / "short.mp4"))
    # A container that hides its length is found out while its frames come.
    session.limits = Limits(seconds=0.2)
    silent = replace(open_source(tmp_path / "short.mp4"), duration=None)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="^longer than 0.2 s"):
        patch.setattr("mestad_d2.inference.app.session.open_source", lambda path: silent)
        session.analyse(str(tmp_path / "short.mp4"))
    assert not list(session.folder.iterdir())


def test_a_newer_drawing_ends_the_one_before_and_long_ones_are_ended(
    session: AppSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_numbered_video(tmp_path / "v.mp4", 28, Fraction(20))
    analysis = session.analyse(str(tmp_path / "v.mp4"))
    write_video, newer = app_session.write_video, []

    def slider_moves(*given: object, progress: Callable[[float], None], **options: object) -> None:
        def after_a_frame(time: float) -> None:
            if not newer:
                newer.append(None)
                newer[0] = session.draw(analysis, 0.7, 0.3)
            progress(time)

        write_video(*given, progress=after_a_frame, **options)

    monkeypatch.setattr(app_session, "write_video", slider_moves)
    with pytest.raises(Superseded):
        session.draw(analysis, 0.5, 0.3)
    assert sum(1 for _ in iterate_frames(newer[0].video)) == 28
    assert [path.name for path in analysis.folder.glob("drawn_*")] == [newer[0].video.parent.name]
    session.limits = Limits(seconds=3, wait=-1)
    with pytest.raises(UserError, match="not drawn after"):
        session.draw(analysis, 0.5, 0.3)
    assert newer[0].video.is_file() and len(list(analysis.folder.glob("drawn_*"))) == 1


def test_a_drawing_that_fails_leaves_nothing(
    session: AppSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_numbered_video(tmp_path / "v.mp4", 20, Fraction(20))
    analysis = session.analyse(str(tmp_path / "v.mp4"))

    def full_disk(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app_session, "write_timeline", full_disk)
    with pytest.raises(OSError, match="No space"):
        session.draw(analysis, 0.5, 0.3)
    # All that the drawing thread still had to do.
    session._pictures.shutdown()
    assert not list(analysis.folder.glob("drawn_*"))


def test_a_picture_that_grows_on_the_way_is_refused(session: AppSession, tmp_path: Path, monkeypatch) -> None:
    write_numbered_video(tmp_path / "a.mp4", 20, Fraction(20))
    # What is read of the file later has the app's limit, which is below the reader's own.
    assert limited(tmp_path / "a.mp4").max_pixels == 4096 * 2304 < open_source(tmp_path / "a.mp4").max_pixels
    analysis = session.analyse(str(tmp_path / "a.mp4"))
    monkeypatch.setattr("mestad_d2.inference.app.session.MAX_PIXELS", 100)
    with pytest.raises(UserError, match="pixels are too many"):
        session.draw(analysis, 0.3, 0.4)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A running app with a model of random weights, and a toy video for it."""
    for module in ("gradio", "playwright"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    place = tmp_path_factory.mktemp("app")
    make_toy(place / "datasets" / "toy", seed=0, videos=1, val_videos=0, seconds=3)
    with running_app(place) as url:
        yield url, next((place / "datasets" / "toy" / "videos").glob("*.mp4"))


def test_in_a_browser(address: tuple[str, Path], tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    url, video = address
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(60000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.click("#detect")
        page.get_by_text("Upload or record a video first.").wait_for()

        page.locator("#source input[type=file]").set_input_files(video)
        page.locator("#source video").wait_for()
        page.click("#detect")
        page.locator("#timeline img").wait_for(timeout=60000)
        page.locator("#summary li").first.wait_for()
        shown = "document.querySelector('#annotated video')"
        # Twice the size of the toy's frames or more: what is shown is the annotated one, and it plays.
        page.wait_for_function(f"{shown} && {shown}.readyState >= 2 && {shown}.videoHeight >= 480")
        page.screenshot(path=tmp_path / "app.png", full_page=True)
        # It plays meanwhile: whoever is there at this moment has a colour of a track.
        assert max(page.evaluate(COUNT_COLOR, list(track_color(i))) for i in range(1, 16)) > 200
        with page.expect_download() as download:
            page.click("#csv")
        rows = Path(download.value.path()).read_text().splitlines()
        assert rows and all(len(row.split(",")) == 8 for row in rows)

        # At the highest threshold nobody is left, and the model is not needed for that.
        slider = page.get_by_label("range slider for Least person score")
        slider.focus()
        slider.press("End")
        slider.dispatch_event("pointerup")
        page.get_by_text("Nobody above the thresholds.").wait_for()
        browser.close()
    elsewhere = [u for u in asked if u.startswith("http") and not u.startswith(url)]
    assert elsewhere == []
