"""The page of the app (gradio, an optional extra); what it does is in ``app_session``."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mestad_d2.errors import UserError
from mestad_d2.inference.app.session import Analysis, AppSession

CSS = """
.actors {list-style: none; margin: 0; padding: 0;}
.actors li {display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .35rem 0; padding: 0;}
.actors i {font-style: normal; font-weight: 700; color: #fff; border-radius: .4rem; padding: .1rem .55rem;
  text-shadow: 0 0 3px #000a;}
.actors em {font-style: normal; opacity: .65; min-width: 6.5rem; font-variant-numeric: tabular-nums;}
.actors span {border: 1px solid #8884; border-radius: 1rem; padding: .05rem .7rem;}
#source, #annotated {min-height: 300px;}
#timeline img {padding-top: 2.2rem;}
"""
NO_NETWORK = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class PageDefaults:
    """Where the sliders begin."""

    score_threshold: float = 0.3
    person_threshold: float = 0.4


def import_gradio(temporary: str | os.PathLike[str]) -> ModuleType:
    """gradio, told to keep its files in ``temporary`` and to report nothing; call before any other use.

    Raises:
        UserError: it is not installed.
    """
    os.environ.update(NO_NETWORK, GRADIO_TEMP_DIR=str(temporary))
    try:
        import gradio
    except ImportError as error:
        raise UserError('the app needs gradio: pip install "gradio>=6.0"') from error
    return gradio


def build_page(gr: ModuleType, session: AppSession, defaults: PageDefaults, keep_seconds: int) -> Any:
    """The page as gradio ``Blocks``; files of a visit are removed ``keep_seconds`` after its last use."""
    blocks = gr.Blocks(
        title="Who does what when",
        analytics_enabled=False,
        delete_cache=(min(600, keep_seconds), keep_seconds),
    )
    with blocks:
        gr.Markdown("# Who does what when\nEvery person of a video, what each of them does, and when.")
        state = gr.State(None, time_to_live=keep_seconds, delete_callback=session.forget)
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
        summary = gr.HTML(elem_id="summary")
        shown = [annotated, timeline, summary, download]

        def draw(analysis: Analysis | None, least_score: float, least_person: float) -> list:
            if analysis is None:
                return [gr.skip()] * len(shown)
            drawn = _or_toast(gr, lambda: session.draw(analysis, least_score, least_person))
            csv = gr.DownloadButton(value=str(drawn.csv), interactive=True)
            return [str(drawn.video), str(drawn.timeline), drawn.summary, csv]

        def detect(video: str | None, old: Analysis | None, progress=gr.Progress()):  # noqa: B008
            if not video:
                raise gr.Error("Upload or record a video first.", print_exception=False)
            session.forget(old)
            return _or_toast(
                gr, lambda: session.analyse(video, lambda done: progress(done, desc="Detecting"))
            )

        button.click(detect, [source, state], state, api_visibility="private").success(
            draw, [state, score, person], shown, api_visibility="private"
        )
        for slider in (score, person):
            slider.release(
                draw, [state, score, person], shown, api_visibility="private", trigger_mode="always_last"
            )
    return blocks


def launch_page(
    gr: ModuleType, blocks: Any, host: str, port: int, max_megabytes: int, *, wait: bool = True
) -> str:
    """Serve the page; no file of it comes from elsewhere. Returns its address.

    Raises:
        UserError: the port is taken.
    """
    # Names of installed fonts only: gradio's own theme would fetch them.
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    blocks.queue(max_size=16, default_concurrency_limit=1)
    try:
        _, address, _ = blocks.launch(
            server_name=host, server_port=port, max_file_size=f"{max_megabytes}mb", share=False,
            theme=gr.themes.Soft(primary_hue="indigo", **fonts), css=CSS, footer_links=[], ssr_mode=False,
            enable_monitoring=False, pwa=False, mcp_server=False, prevent_thread_lock=not wait,
            strict_cors=True, run_history=False,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"port {port}: can't be used ({error}); give another --port") from error
    return address


def _or_toast(gr: ModuleType, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except UserError as error:
        # gradio shows messages as html.
        raise gr.Error(html.escape(str(error)), print_exception=False) from error
