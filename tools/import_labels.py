#!/usr/bin/env python
"""Convert labels of CVAT, Label Studio, VIA, COCO, YouTube-VIS, MOT or VATIC to AVA's csv and a label map.

tools/import_labels.py task.xml --videos my/videos --output my/train.csv --label-map my/labels.txt --rate 1
"""

# ruff: noqa: E402  (arguments are read before the libraries are imported, which takes seconds)
from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import UserError, counted, one_line_errors
from mestad_d2.process_setup import start_quickly


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", type=Path, nargs="+", help="files as exported, or zip archives of them")
    parser.add_argument("--output", type=Path, required=True, help="csv to write")
    parser.add_argument(
        "--label-map", type=Path, help="label map; one that is there keeps its ids, and new actions are added"
    )
    parser.add_argument(
        "--format",
        help="cvat, label-studio, via, coco, mot or vatic; default: found out from the content",
    )
    parser.add_argument("--videos", help="folder of the videos: their frame rates and sizes are taken")
    parser.add_argument("--fps", help="frame rate where neither export nor file tells it, or a csv video,fps")
    parser.add_argument(
        "--size", metavar="WxH", help="of the frames in pixels, where the export does not say it"
    )
    parser.add_argument(
        "--rate",
        default="auto",
        help="key frames a second, every (frame), or drawn (by a person); default: every where two a second or fewer "
        "were labelled, else 1",
    )
    parser.add_argument(
        "--actions-from",
        nargs="+",
        default=[],
        metavar="NAME",
        help="attributes that hold the actions, or label",
    )
    parser.add_argument(
        "--no-action", nargs="+", default=[], metavar="VALUE", help="values that are no action, as unknown"
    )
    parser.add_argument(
        "--people", nargs="+", default=[], metavar="LABEL", help="labels that are people; default: all"
    )
    parser.add_argument("--default-action", metavar="NAME", help="of people without an action")
    parser.add_argument(
        "--first-frame", type=int, help="number of the first frame, for COCO json (default: found out)"
    )
    parser.add_argument("--video", metavar="ID", help="name of the video, for a file that holds one")
    return parser.parse_args(argv)


if __name__ == "__main__":
    parse()
    start_quickly()

from mestad_d2.data.importers.actions import ActionRule, choose_rule, number_actions
from mestad_d2.data.importers.files import Sizes, check_videos, parsed_size, read_labels
from mestad_d2.data.importers.rows import Imported, rows_of
from mestad_d2.data.importers.tracks import Labels
from mestad_d2.data.per_video import as_setting
from mestad_d2.data.prepare.convert import write_label_map, write_labels
from mestad_d2.data.prepare.rates import Clock
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.formats.output_paths import refuse_overwriting_inputs


def rate_of(text: str) -> float | str:
    """Parse ``--rate``: a number or one of the words."""
    if text in ("auto", "every", "drawn"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 1e-3 <= value <= 1e3:
        raise UserError(f"--rate {text}: give a number of key frames a second, every, or drawn")
    return value


def collect(args: argparse.Namespace, files: list[tuple[Path, Labels]], rule: ActionRule) -> Imported:
    """Collect the rows of all videos; print what did not match and what was left out."""
    clock, result, rate = Clock(args.videos, as_setting(args.fps, "--fps")), Imported(), rate_of(args.rate)
    for _, labels in files:
        for video in labels.videos:
            rows_of(video, rule, clock, rate, args.people, args.default_action, result)
    notes = clock.lines()
    for kind, count in sum((Counter(labels.left_out) for _, labels in files), Counter()).items():
        notes.append(f"{count} left out: {kind}")
    notes += [f"{count} {kind}" for kind, count in result.counts.items() if not kind.startswith("key frames")]
    if result.without_action:
        some = ", ".join(result.without_action[:3])
        notes.append(
            f"{counted(len(result.without_action), 'key frame')} left out, as a person there has no action ({some}); name "
            "the labels that are people with --people, or give --default-action"
        )
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return result


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Read, choose key frames, and write both files."""
    args = parse(argv)
    refuse_overwriting_inputs(
        [*(p for p in args.inputs if p.is_file()), args.fps], [args.output, args.label_map]
    )
    if args.video is not None and len(args.inputs) > 1:
        raise UserError("--video: names the video of one file; convert files one by one")
    sizes = Sizes(parsed_size(args.size), args.videos)
    files = [(p, read_labels(p, args.format, sizes, args.first_frame, args.video)) for p in args.inputs]
    check_videos(files)
    rule = choose_rule([labels for _, labels in files], args.actions_from)
    rule = replace(rule, nothing=rule.nothing | set(args.no_action))
    known = read_label_map(args.label_map).names if args.label_map and args.label_map.exists() else {}
    result = collect(args, files, rule)
    used = list(dict.fromkeys(name for row in result.rows for name, _ in row.actions))
    ids = number_actions(used, [labels for _, labels in files], rule, known, args.default_action)
    rows = []
    for row in result.rows:
        if row.box is None:
            rows.append(AnnotationRow(row.video_id, row.timestamp, None, 0))
        for name, sure in row.actions:
            rows.append(AnnotationRow(row.video_id, row.timestamp, row.box, ids[name], row.person_id, sure))
    if not used:
        raise UserError(
            f"{args.inputs[0]}: no action of a person in it (looked for in: {rule}); see --actions-from"
        )
    count, empty = write_labels(rows, args.output)
    names = {number: name.partition(": ")[2] if rule.numbered else name for name, number in ids.items()}
    if args.label_map:
        write_label_map({**known, **names}, args.label_map)
    left = f", {counted(empty, 'box', 'boxes')} outside the frame left out" if empty else ""
    print(
        f"{args.output}: {counted(count, 'row')}, {counted(result.counts['key frames'], 'key frame')} "
        f"({result.counts['key frames without people']} without people), {counted(len(names), 'action')} from {rule}{left}"
    )


if __name__ == "__main__":
    main()
