"""The page of the app (gradio, an optional extra); what it does is in ``session``."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mestad_d2.errors import UserError
from mestad_d2.inference.app.guard import Guard, is_loopback
from mestad_d2.inference.app.session import Analysis, AppSession, Superseded
from mestad_d2.inference.app.uploads import Uploads

CSS = """
.actors {list-style: none; margin: 0; padding: 0;}
.actors li {display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .35rem 0; padding: 0;}
.actors i {font-style: normal; font-weight: 700; color: #fff; border-radius: .4rem; padding: .1rem .55rem;
  text-shadow: 0 0 3px #000a;}
.actors em {font-style: normal; opacity: .65; min-width: 6.5rem; font-variant-numeric: tabular-nums;}
.actors span {border: 1px solid #8884; border-radius: 1rem; padding: .05rem .7rem;}
#source, #annotated {min-height: 300px;}
#timeline img, #tubes img {padding-top: 2.2rem;}
"""
# Drawings at once; each takes about a core.
DRAWINGS = 4
NO_NETWORK = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class PageDefaults:
    """Where the sliders begin."""

    score_threshold: float = 0.3
    person_threshold: float = 0.4


def import_gradio(temporary: str | os.PathLike[str]) -> ModuleType:
    """Import gradio with its files in ``temporary`` and without telemetry; call before any other use.

    Raises:
        UserError: it is not installed.
    """
    os.environ.update(NO_NETWORK, GRADIO_TEMP_DIR=str(temporary))
    try:
        import gradio
    except ImportError as error:
        raise UserError('the app needs gradio: pip install "gradio>=6.16"') from error
    return gradio


def build_page(gr: ModuleType, session: AppSession, defaults: PageDefaults) -> Any:
    """Build the page as gradio ``Blocks``; files of a visit are removed ``keep_seconds`` after its last use."""
    blocks = gr.Blocks(title="Who does what when", analytics_enabled=False)
    with blocks:
        gr.Markdown("# Who does what when\nEvery person of a video, what each of them does, and when.")
        state = gr.State(None, delete_callback=session.forget)
        with gr.Row(equal_height=True):
            source = gr.Video(
                label=f"Your video, up to {session.limits.seconds:g} s", sources=["upload", "webcam"],
                include_audio=True, webcam_options=gr.WebcamOptions(mirror=False), elem_id="source",
            )  # fmt: skip
            annotated = gr.Video(label="Annotated", interactive=False, elem_id="annotated", autoplay=True)
        with gr.Row():
            score = gr.Slider(0, 1, defaults.score_threshold, step=0.01, label="Least action score")
            person = gr.Slider(0, 1, defaults.person_threshold, step=0.01, label="Least person score")
        with gr.Row():
            button = gr.Button("Detect actions", variant="primary", elem_id="detect")
            download = gr.DownloadButton("Download csv", interactive=False, elem_id="csv")
        timeline = gr.Image(
            label="Timeline", interactive=False, elem_id="timeline", type="filepath", buttons=["fullscreen"]
        )
        tubes = gr.Image(
            label="Tubes: each action from its start to its end", interactive=False, elem_id="tubes",
            type="filepath", buttons=["fullscreen"],
        )  # fmt: skip
        summary = gr.HTML(elem_id="summary")
        shown = [annotated, timeline, summary, download, tubes]

        def draw(analysis: Analysis | None, least_score: float, least_person: float) -> list:
            if analysis is None:
                return [gr.skip()] * len(shown)
            try:
                drawn = _or_toast(gr, lambda: session.draw(analysis, least_score, least_person))
            except Superseded:
                return [gr.skip()] * len(shown)
            csv = gr.DownloadButton(value=str(drawn.csv), interactive=True)
            return [str(drawn.video), str(drawn.timeline), drawn.summary, csv, str(drawn.tubes)]

        def detect(video: str | None, old: Analysis | None, progress=gr.Progress()):  # noqa: B008
            if not video:
                raise gr.Error("Upload or record a video first.", print_exception=False)
            session.forget(old, keep=Path(video))
            return _or_toast(
                gr, lambda: session.analyse(video, lambda done: progress(done, desc="Detecting"))
            )

        # Drawing waits for no detection; a newer drawing ends the one before it.
        drawing = {"api_visibility": "private", "concurrency_id": "draw", "concurrency_limit": DRAWINGS}
        button.click(
            detect,
            [source, state],
            state,
            api_visibility="private",
            concurrency_id="detect",
            concurrency_limit=1,
        ).success(draw, [state, score, person], shown, **drawing)
        for slider in (score, person):
            slider.release(draw, [state, score, person], shown, trigger_mode="multiple", **drawing)
    return blocks


@dataclass(frozen=True)
class Access:
    """Who may use the page: the address that it listens on, its port, and user and password, if any."""

    host: str = "127.0.0.1"
    port: int = 7860
    login: tuple[str, str] | None = None


def launch_page(
    gr: ModuleType, blocks: Any, access: Access, max_megabytes: int, uploads: Uploads, *, wait: bool = True
) -> str:
    """Serve the page without loading anything from other hosts; return its address.

    Raises:
        UserError: the port is taken.
    """
    from starlette.middleware import Middleware

    if access.login is None and not is_loopback(access.host):
        print(
            f"warning: everybody who reaches {access.host}:{access.port} can use this page; --auth USER:PASSWORD or "
            "--auth @FILE asks for a log-in",
            file=sys.stderr,
        )
    guard = Middleware(Guard, bound_to=access.host, uploads=uploads)
    # Names of installed fonts only: gradio's own theme would fetch them.
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    blocks.queue(max_size=32, default_concurrency_limit=1)
    try:
        _, address, _ = blocks.launch(
            server_name=access.host, server_port=access.port, auth=access.login, share=False,
            max_file_size=f"{max_megabytes}mb",
            theme=gr.themes.Soft(primary_hue="indigo", **fonts), css=CSS, footer_links=[], ssr_mode=False,
            enable_monitoring=False, pwa=False, mcp_server=False, prevent_thread_lock=not wait,
            strict_cors=True, run_history=False, app_kwargs={"middleware": [guard]},
            # gradio gives up where the page takes more than three seconds to come, as on a machine with much to do.
            _frontend=False,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"port {access.port}: can't be used ({error}); give another --port") from error
    return address


def _or_toast(gr: ModuleType, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except UserError as error:
        # gradio shows messages as html.
        raise gr.Error(html.escape(str(error)), print_exception=False) from error
