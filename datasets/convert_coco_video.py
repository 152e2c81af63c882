#!/usr/bin/env python
"""Convert COCO-style json of videos to AVA's csv and a label map; a category is an action.

Read are json with videos, images, annotations and categories; the same without videos, as CVAT writes it; and
YouTube-VIS. tools/import_labels.py reads these and other tools' files with more choices.

Run it once a split, with one --label-map for both: the second run keeps the ids of the first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.data.importers.actions import ActionRule, number_actions
from mestad_d2.data.importers.coco import LAYOUT, read_coco
from mestad_d2.data.importers.files import check_videos
from mestad_d2.data.importers.reading import read_json
from mestad_d2.data.importers.rows import Imported, rows_of
from mestad_d2.data.prepare.convert import write_label_map, write_labels
from mestad_d2.data.prepare.rates import Clock, add_rate_arguments
from mestad_d2.errors import UserError, counted, one_line_errors
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.formats.output_paths import refuse_overwriting_inputs


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"Layout: {LAYOUT}.", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="csv file to write")
    parser.add_argument("--label-map", type=Path, help="label map; one that is there keeps its ids")
    add_rate_arguments(parser, 30.0)
    parser.add_argument("--step", type=int, default=1, help="every N-th frame is a key frame (default: all)")
    parser.add_argument(
        "--first-frame", type=int, help="number of a video's first frame (default: found out)"
    )
    args = parser.parse_args(argv)
    if args.step < 1:
        raise UserError(f"--step {args.step}: give at least 1")
    refuse_overwriting_inputs([args.json, args.fps], [args.output, args.label_map])
    labels = read_coco(read_json(args.json), args.json, args.first_frame)
    check_videos([(args.json, labels)])
    rule, result = ActionRule(frozenset(), True), Imported()
    clock = Clock.of_arguments(args)
    for video in labels.videos:
        video.frames = [f for f in video.frames if video.fps == 1.0 or int(f) % args.step == 0]
        rows_of(video, rule, clock, "every", into=result)
    known = read_label_map(args.label_map).names if args.label_map and args.label_map.exists() else {}
    ids = number_actions(list(labels.ids), [labels], rule, known)
    rows = [AnnotationRow(r.video_id, r.timestamp, None, 0) for r in result.rows if r.box is None]
    rows += [
        AnnotationRow(r.video_id, r.timestamp, r.box, ids[name], r.person_id, sure)
        for r in result.rows
        for name, sure in r.actions
    ]
    count, empty = write_labels(rows, args.output)
    if args.label_map:
        write_label_map({**known, **{number: name for name, number in ids.items()}}, args.label_map)
    for line in clock.lines():
        print(f"note: {line}", file=sys.stderr)
    print(
        f"{args.output}: {counted(count, 'row')}, {counted(empty, 'empty box', 'empty boxes')} left out, "
        f"{counted(result.counts['key frames without people'], 'key frame')} without people"
    )


if __name__ == "__main__":
    main()
