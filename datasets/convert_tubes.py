#!/usr/bin/env python
"""Convert UCF101-24, JHMDB or MultiSports to AVA's csv: train.csv, val.csv and labels.txt.

Reads the pickle of tubes that they are shared as (UCF101v2-GT.pkl, JHMDB-GT.pkl, multisports_GT.pkl).
Videos must lie below one folder under the names in the pickle (JHMDB: brush_hair/....mp4).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.data.prepare.convert import Tally, Timing, class_names, tube_labels, write_splits
from mestad_d2.data.prepare.rates import Clock, add_rate_arguments
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.formats.safe_pickle import read_arrays


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Convert both splits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pickle", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for the csv files")
    add_rate_arguments(parser, 25.0)
    parser.add_argument("--step", type=int, default=25, help="every N-th frame is a key frame (default: 25)")
    parser.add_argument(
        "--every-instance",
        action="store_true",
        help="a key frame in the middle of instances between key frames",
    )
    parser.add_argument("--split", type=int, default=1, help="official split, from 1 (default: 1)")
    args = parser.parse_args(argv)
    outputs = [args.output / name for name in ("labels.txt", "train.csv", "val.csv")]
    refuse_overwriting_inputs([args.pickle, args.fps], outputs)
    content = read_arrays(args.pickle)
    needed = {"labels", "gttubes", "resolution", "train_videos", "test_videos"}
    if not isinstance(content, dict) or needed - set(content):
        raise UserError(f"{args.pickle}: not a pickle of tubes; it should hold {', '.join(sorted(needed))}")
    count = len(content["train_videos"])
    if not 1 <= args.split <= count:
        raise UserError(f"{args.pickle}: has no split {args.split}, but {count}")
    listed = {
        name: content[key][args.split - 1]
        for name, key in (("train", "train_videos"), ("val", "test_videos"))
    }
    # A test set without public labels lists videos that have no tubes.
    labelled = {name: [v for v in videos if v in content["gttubes"]] for name, videos in listed.items()}
    clock = Clock.of_arguments(args, content.get("nframes"))
    timing = Timing(clock, args.step, args.every_instance)
    splits = {}
    for name, videos in labelled.items():
        tally = Tally()
        splits[args.output / f"{name}.csv"] = (
            videos,
            list(tube_labels(content, videos, timing, tally)),
            tally,
        )
    write_splits(splits, class_names(content["labels"]), args.output / "labels.txt", clock)


if __name__ == "__main__":
    main()
