#!/usr/bin/env python
"""Compute frame-mAP of a detection csv, exactly as the published AVA evaluators do."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import one_line_errors
from mestad_d2.evaluation.evaluate_files import evaluate_files
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.arguments import add_import_argument, import_named


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--groundtruth", required=True, help="csv: video,timestamp,x1,y1,x2,y2,action_id[,person_id]"
    )
    parser.add_argument(
        "--detections", required=True, help="csv: video,timestamp,x1,y1,x2,y2,action_id,score"
    )
    parser.add_argument(
        "--labelmap", required=True, help="pbtxt, lines 'id: name', csv or json; only its classes count"
    )
    parser.add_argument("--exclude", help="csv: video,timestamp of frames left out (slowfast protocol only)")
    parser.add_argument(
        "--protocol", default="activitynet", help=f"one of {', '.join(PROTOCOLS)} (default: %(default)s)"
    )
    add_import_argument(parser)
    parser.add_argument(
        "--stricter-ious", action="store_true", help="also at IoU 0.75 and over 0.5 to 0.95, as EVAD reports"
    )
    parser.add_argument("--output", help="write the figures to this JSON file")
    parser.add_argument(
        "--report", metavar="DIR", help="write a page with curves and examples to DIR/index.html"
    )
    parser.add_argument(
        "--videos", metavar="DIR", help="folder of videos or folders of frames, for the report's pictures"
    )
    parser.add_argument(
        "--video-start",
        default="0",
        help="timestamp of a file's first frame, in s; auto: AVA's rule; or a csv",
    )
    parser.add_argument("--fps", default="30", help="rate of folders of frames, or a csv of rates")
    return parser.parse_args(argv)


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    args = vars(parse_args(argv))
    import_named(args.pop("imports"))
    videos, start, fps = (args.pop(name) for name in ("videos", "video_start", "fps"))
    report = args["report"] and os.path.join(args["report"], "index.html")
    refuse_overwriting_inputs(
        [args[name] for name in ("groundtruth", "detections", "labelmap", "exclude")],
        [args["output"], report],
    )
    frames = None
    if videos:
        # Imported here: a plain evaluation should not wait for the decoding libraries.
        from mestad_d2.data.frame_lookup import FrameLookup
        from mestad_d2.data.per_video import as_setting

        frames = FrameLookup(videos, as_setting(start, "--video-start"), as_setting(fps, "--fps"))
    print(evaluate_files(**args, frames=frames))


if __name__ == "__main__":
    main()
