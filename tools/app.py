#!/usr/bin/env python
"""Serve a web page that detects actions in uploaded or recorded videos (needs the extra `app`)."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import tempfile
import threading
from pathlib import Path

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.arguments import (
    add_config_options,
    add_detector_arguments,
    add_persons_arguments,
    add_rate_argument,
    add_speed_arguments,
    detector_config,
    mode_of_arguments,
)
from mestad_d2.process_setup import start_quickly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_detector_arguments(parser)
    add_persons_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", help="%(default)s; 0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=7860, help="%(default)s")
    add_rate_argument(parser, 2.0)
    parser.add_argument(
        "--score-threshold", type=float, default=0.3, help="where the actions' slider begins (%(default)s)"
    )
    parser.add_argument(
        "--person-threshold", type=float, default=0.4, help="where the people's slider begins (%(default)s)"
    )
    parser.add_argument("--max-megabytes", type=int, default=200, help="largest upload (%(default)s)")
    parser.add_argument("--max-seconds", type=float, default=120, help="longest video (%(default)s)")
    parser.add_argument(
        "--max-visit-megabytes", type=int, default=400, help="uploads of one address together (%(default)s)"
    )
    parser.add_argument(
        "--max-total-megabytes",
        type=int,
        default=4000,
        help="all files of all visits together (%(default)s)",
    )
    parser.add_argument(
        "--auth", metavar="USER:PASSWORD", help="ask for a log-in; @FILE reads both from a file's first line"
    )
    parser.add_argument(
        "--max-wait",
        type=float,
        default=600,
        help="seconds a detection, or a drawing, may take (%(default)s)",
    )
    parser.add_argument(
        "--keep", type=int, default=3600, help="seconds after its last use until a video goes (%(default)s)"
    )
    add_speed_arguments(parser)
    add_config_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # Before the imports below, which take seconds: --help and wrong flags are answered at once.
    ARGUMENTS = parse()
    start_quickly()

from mestad_d2.inference.action_names import action_names
from mestad_d2.inference.app.page import Access, PageDefaults, build_page, import_gradio, launch_page
from mestad_d2.inference.app.session import AppSession, Limits
from mestad_d2.inference.app.uploads import Uploads, sweep_regularly
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.process_setup import keep_freed_memory


def log_in(given: str | None) -> tuple[str, str] | None:
    """Return the user and password of ``--auth``, or None.

    Raises:
        UserError: not of the form USER:PASSWORD, or the file can't be read.
    """
    if given is None:
        return None
    if given.startswith("@"):
        try:
            given = Path(given[1:]).read_text().partition("\n")[0].strip()
        except (OSError, ValueError) as error:
            raise UserError(f"--auth {given}: can't be read ({error}); give a text file") from error
    user, colon, password = given.partition(":")
    if not (user and colon and password):
        raise UserError("--auth: expected USER:PASSWORD, or @FILE whose first line is that")
    return user, password


def _stop(*_: object) -> None:
    # Only once: a second signal must not interrupt the cleanup.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


@one_line_errors()
def main(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C, then remove all files of the visits."""
    # A stopped service should clean up as with Ctrl-C.
    signal.signal(signal.SIGTERM, _stop)
    login = log_in(args.auth)
    with tempfile.TemporaryDirectory(prefix="mestad-app-", ignore_cleanup_errors=True) as folder:
        gr = import_gradio(Path(folder) / "page")
        cfg = detector_config(args)
        keep_freed_memory(cfg.MODEL.DEVICE)
        predictor = VideoPredictor(
            cfg,
            speed=mode_of_arguments(args, cfg.MODEL.DEVICE),
            keyframes_per_second=args.keyframes_per_second,
            mode=args.mode,
        )
        names = action_names(cfg, args.labels)
        pages = Path(folder) / "page"
        limits = Limits(args.max_seconds, args.max_wait)
        # Inside gradio's folder, so that it serves the results where they are and keeps no copies.
        session = AppSession(predictor, names, limits, pages)
        uploads = Uploads(
            pages, args.max_visit_megabytes * 2**20, args.max_total_megabytes * 2**20, args.keep
        )
        stopped = threading.Event()
        sweep_regularly(uploads, stopped)
        page = build_page(gr, session, PageDefaults(args.score_threshold, args.person_threshold))
        # What is loaded stays: the collections between requests need not look through it.
        gc.collect()
        gc.freeze()
        try:
            launch_page(gr, page, Access(args.host, args.port, login), args.max_megabytes, uploads)
        finally:
            stopped.set()


if __name__ == "__main__":
    main(ARGUMENTS)
