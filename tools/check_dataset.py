#!/usr/bin/env python
"""Check a dataset before training: exit code 0 if it is sound, 1 if faults were found, 2 if it can't be read."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detectron2.data import MetadataCatalog  # noqa: E402

from mestad_d2.data.catalog import register_builtin  # noqa: E402
from mestad_d2.data.check.dataset import check_dataset, write_exclusions  # noqa: E402
from mestad_d2.data.check.report import KINDS, DatasetReport  # noqa: E402
from mestad_d2.data.per_video import as_setting  # noqa: E402
from mestad_d2.errors import UserError, one_line_errors  # noqa: E402
from mestad_d2.formats.output_paths import refuse_overwriting_inputs  # noqa: E402
from mestad_d2.load_config import setup_cfg  # noqa: E402
from mestad_d2.video.frame_list import listed_root  # noqa: E402


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "name", nargs="?", help="a registered dataset, such as ava_v2.2_train; or give paths:"
    )
    parser.add_argument("--config-file", help="config of the run: its DATASETS.CUSTOM and its model")
    parser.add_argument("--videos", type=Path, help="folder of videos or of folders of frames")
    parser.add_argument(
        "--frame-list", type=Path, help="PySlowFast's or mmaction2's; paths start from --videos"
    )
    parser.add_argument(
        "--annotations", type=Path, help="csv: video,timestamp,x1,y1,x2,y2,action_id,person_id"
    )
    parser.add_argument("--label-map", type=Path, help="AVA's pbtxt or lines `1: name`")
    parser.add_argument("--exclude", type=Path, help="csv of key frames to leave out: video,timestamp")
    parser.add_argument(
        "--start", default="0", help="timestamp of a file's first frame; auto: AVA's rule; or a csv of them"
    )
    parser.add_argument("--fps", default="30", help="rate of folders of frames, or a csv of them")
    parser.add_argument("--fix-exclude", type=Path, metavar="CSV", help="write a list that leaves faults out")
    parser.add_argument("--show", type=int, default=5, help="examples of each kind of fault (default: 5)")
    return parser.parse_args(argv)


def dataset_paths(args: argparse.Namespace) -> dict:
    """Arguments of ``check_dataset`` from a name or from paths."""
    if args.name is None:
        missing = [
            f"--{n}" for n in ("videos", "annotations", "label-map") if not vars(args)[n.replace("-", "_")]
        ]
        if missing:
            raise UserError(f"give the name of a dataset, or {', '.join(missing)}")
        return {
            "video_root": listed_root(args.videos, args.frame_list) if args.frame_list else args.videos,
            "annotations": args.annotations,
            "label_map": args.label_map,
            "exclude": args.exclude,
            "start": as_setting(args.start, "--start"),
            "fps": as_setting(args.fps, "--fps"),
        }
    num_classes = None
    if args.config_file:
        num_classes = setup_cfg(args.config_file).MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    else:
        register_builtin()
    if (
        args.name not in MetadataCatalog.list()
        or "ground_truth" not in MetadataCatalog.get(args.name).as_dict()
    ):
        raise UserError(f"{args.name}: no dataset of this name; give --videos, --annotations and --label-map")
    meta = MetadataCatalog.get(args.name)
    return {
        "video_root": meta.video_root,
        "annotations": meta.ground_truth,
        "label_map": meta.label_map,
        "exclude": args.exclude or meta.exclude,
        "start": meta.start,
        "fps": meta.fps,
        "num_classes": num_classes,
    }


def print_report(report: DatasetReport, show: int) -> None:
    """Classes, then faults by kind, then one line of verdict."""
    print(f"{report.videos} videos, {report.key_frames} key frames, {report.rows} rows")
    for action in sorted(set(report.classes) | set(report.names)):
        count = report.classes[action]
        print(
            f"  {action:>4}  {report.names.get(action, '?'):<40} {count:>8}{'' if count else '   no example'}"
        )
    by_kind = defaultdict(list)
    for fault in report.faults:
        by_kind[fault.kind].append(fault)
    for kind, faults in by_kind.items():
        print(f"\n{kind}: {len(faults)} ({KINDS[kind]})")
        for fault in faults[:show]:
            print(f"  {fault.where}: {fault.text}")
        if len(faults) > show:
            print(f"  ... and {len(faults) - show} more")
    for note in report.notes:
        print(f"\nnote: {note}")
    print(f"\n{len(report.faults)} faults of {len(by_kind)} kinds" if by_kind else "\nno faults")


@one_line_errors()
def main(argv: list[str] | None = None) -> int:
    """Check, print, and write the exclusion list that was asked for."""
    args = parse(argv)
    paths = dataset_paths(args)
    refuse_overwriting_inputs(
        [paths["annotations"], paths["label_map"], args.config_file], [args.fix_exclude]
    )
    report = check_dataset(**paths)
    print_report(report, args.show)
    if args.fix_exclude:
        added = write_exclusions(report, args.fix_exclude, paths["exclude"])
        print(f"{args.fix_exclude}: {added} key frames added; give it as the dataset's EXCLUDE")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
