#!/usr/bin/env python
"""Compute video-mAP and frame-mAP of action tubes, exactly as the published evaluators do, or by consistent defaults.

Ground truth: csv video,class,tube,frame,x1,y1,x2,y2; the pickles of ACT, MOC and MultiSports; finalAnnots.mat or
pyannot.pkl of UCF101-24. Detections: csv of tubes or frames, MultiSports' pickles, a folder of ACT's or MOC's
pickles. docs/tubes.md compares the protocols.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.evaluation.tubes.evaluate_files import compare, evaluate, read_inputs, summary
from mestad_d2.evaluation.tubes.protocols import PROTOCOLS
from mestad_d2.formats.files import write_json
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.formats.tubes.csv_files import write_tubes
from mestad_d2.inference.arguments import add_import_argument, import_named


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groundtruth", required=True, help="tubes of the test videos: .csv, .pkl or .mat")
    parser.add_argument("--detections", help="tubes, or frame detections: .csv, .pkl or a folder")
    parser.add_argument(
        "--protocol", default="ours", help=f"one of {', '.join(PROTOCOLS)} (default: %(default)s)"
    )
    add_import_argument(parser)
    parser.add_argument("--frames", help="frame detections or tubelets, for frame-mAP and --link")
    parser.add_argument(
        "--link", metavar="LINKER", help="link the frame detections into tubes (docs/tubes.md)"
    )
    parser.add_argument("--case", help="json of classes and videos, for ground truth in csv")
    parser.add_argument("--split", type=int, default=1, help="split of the ground-truth pickle (default: 1)")
    parser.add_argument("--test-list", help="test videos of UCF101-24, one a line (testlist01.txt)")
    parser.add_argument("--output", metavar="J", help="write the figures to this JSON file")
    parser.add_argument("--write-tubes", metavar="CSV", help="write the evaluated tubes, linked ones too")
    parser.add_argument(
        "--report", metavar="DIR", help="write a page with curves and misses to DIR/index.html"
    )
    parser.add_argument("--compare", action="store_true", help="print what every protocol says as well")
    parser.add_argument(
        "--errors",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="analyse the false positives (default: yes)",
    )
    return parser.parse_args(argv)


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    import_named(args.imports)
    report = args.report and os.path.join(args.report, "index.html")
    refuse_overwriting_inputs(
        [args.groundtruth, args.detections, args.frames, args.case, args.test_list],
        [args.output, args.write_tubes, report],
    )
    inputs = read_inputs(
        args.groundtruth,
        args.detections,
        args.frames,
        args.case,
        _linker(args.link),
        args.split,
        args.test_list,
    )
    content, results = evaluate(inputs, args.protocol, args.errors)
    if args.link:
        content["linker"] = args.link
    print(summary(inputs, content, results))
    if args.compare:
        print("\n" + compare(inputs))
    if args.output:
        write_json(args.output, content, fix="choose another --output")
    if args.write_tubes:
        if inputs.tubes is None:
            raise UserError("--write-tubes: there are no tubes; give --detections with tubes, or --link")
        write_tubes(args.write_tubes, inputs.tubes)
    if args.report:
        # Imported here: a plain evaluation should not wait for the report's libraries.
        from mestad_d2.evaluation.report.tube_page import write_tube_report

        print(f"report: {write_tube_report(args.report, inputs, results)}")


def _linker(name: str | None):
    if name is None:
        return None
    # Imported here, as most evaluations do not link.
    from mestad_d2.inference.tubes.linkers import check_linker, link

    check_linker(name)
    return lambda found, dataset: link(found, dataset, name)


if __name__ == "__main__":
    main()
