#!/usr/bin/env python
"""Convert the corrected UCF101-24 annotations (pyannot.pkl) to AVA's csv: train.csv, val.csv and labels.txt.

Videos are named v_<Class>_gNN_cNN and lie in one folder. The test list is the official one
(testlist01.txt: lines <Class>/v_<Class>_gNN_cNN.avi).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.data.importers.reading import without_suffix
from mestad_d2.data.prepare.convert import Tally, Timing, ucf24_labels, ucf24_names, write_splits
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
    parser.add_argument("--test-list", type=Path, required=True, help="videos of the test set, one a line")
    parser.add_argument("--output", type=Path, required=True, help="folder for the csv files")
    add_rate_arguments(parser, 25.0)
    parser.add_argument("--step", type=int, default=25, help="every N-th frame is a key frame (default: 25)")
    parser.add_argument(
        "--every-instance",
        action="store_true",
        help="a key frame in the middle of instances between key frames",
    )
    args = parser.parse_args(argv)
    outputs = [args.output / name for name in ("labels.txt", "train.csv", "val.csv")]
    refuse_overwriting_inputs([args.pickle, args.test_list, args.fps], outputs)
    content = read_arrays(args.pickle)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{args.pickle}: no dict of videos")
    try:
        lines = args.test_list.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{args.test_list}: no list of videos ({error})") from error
    test = {without_suffix(Path(line.split()[0]).name) for line in lines if line.split()}
    names = ucf24_names(content)
    lengths = {v.rpartition("/")[2]: e.get("numf") for v, e in content.items() if isinstance(e, dict)}
    clock = Clock.of_arguments(args, {v: int(n) for v, n in lengths.items() if n})
    timing = Timing(clock, args.step, args.every_instance)
    splits = {}
    for name, wanted in (("train", False), ("val", True)):
        videos, tally = [v for v in content if (v.rpartition("/")[2] in test) == wanted], Tally()
        if not videos:
            raise UserError(
                f"{args.test_list}: no video is left for {name}; give the test list of these annotations"
            )
        splits[args.output / f"{name}.csv"] = (
            videos,
            list(ucf24_labels(content, videos, timing, tally=tally)),
            tally,
        )
    write_splits(splits, names, args.output / "labels.txt", clock)


if __name__ == "__main__":
    main()
