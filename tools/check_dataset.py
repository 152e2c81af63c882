#!/usr/bin/env python
"""Check a dataset before training: exit code 0 if it is sound, 1 if faults were found, 2 if it can't be read."""

# ruff: noqa: E402  (arguments are read before the libraries are imported, which takes seconds)
from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import UserError, counted, one_line_errors
from mestad_d2.process_setup import start_quickly


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help="registered datasets, such as ava_v2.2_train; several are compared, the first one is trained on and the "
        "others are judged (default: DATASETS.TRAIN and TEST of the config); or give paths:",
    )
    parser.add_argument("--config-file", help="config of the run: its DATASETS.CUSTOM and its model")
    parser.add_argument("--videos", type=Path, help="folder of videos or of folders of frames")
    parser.add_argument(
        "--frame-list", type=Path, help="PySlowFast's or mmaction2's; paths start from --videos"
    )
    parser.add_argument(
        "--annotations", type=Path, help="csv: video,timestamp,x1,y1,x2,y2,action_id,person_id"
    )
    parser.add_argument("--label-map", type=Path, help="pbtxt, lines `1: name`, csv or json")
    parser.add_argument(
        "--persons-only",
        action="store_true",
        help="the annotations are people without actions; no --label-map",
    )
    parser.add_argument("--exclude", type=Path, help="csv of key frames to leave out: video,timestamp")
    parser.add_argument(
        "--start", default="0", help="timestamp of a file's first frame; auto: AVA's rule; or a csv of them"
    )
    parser.add_argument("--fps", default="30", help="rate of folders of frames, or a csv of them")
    parser.add_argument("--person-boxes", type=Path, help="a detector's boxes: csv, pickle or COCO json")
    parser.add_argument(
        "--tubes", type=Path, help="check a file of ground-truth tubes instead (pickle, .mat, csv)"
    )
    parser.add_argument("--split", type=int, default=1, help="official split of --tubes, from 1 (default: 1)")
    parser.add_argument("--fix-exclude", type=Path, metavar="CSV", help="write a list that leaves faults out")
    parser.add_argument("--show", type=int, default=5, help="examples of each kind of fault (default: 5)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    parse()
    start_quickly()

from detectron2.data import MetadataCatalog

from mestad_d2.data.catalog import register_builtin
from mestad_d2.data.check.dataset import check_dataset, write_exclusions
from mestad_d2.data.check.report import KINDS, DatasetReport
from mestad_d2.data.check.splits import check_person_boxes, check_splits
from mestad_d2.data.check.tubes import check_tubes
from mestad_d2.data.per_video import as_setting
from mestad_d2.data.tube_datasets.check import check_tube_dataset
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.evaluation.ground_truth import GroundTruth
from mestad_d2.evaluation.read_rows import read_rows
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.load_config import setup_cfg
from mestad_d2.video.frame_list import FrameList


def own_paths(args: argparse.Namespace) -> dict:
    """Return arguments of ``check_dataset`` from paths on the command line."""
    needed = ("videos", "annotations") if args.persons_only else ("videos", "annotations", "label-map")
    missing = [f"--{n}" for n in needed if not vars(args)[n.replace("-", "_")]]
    if missing:
        raise UserError(f"give names of datasets, --config-file, --tubes, or {', '.join(missing)}")
    return {
        "video_root": FrameList(str(args.videos), str(args.frame_list)) if args.frame_list else args.videos,
        "annotations": args.annotations,
        "label_map": args.label_map,
        "persons_only": args.persons_only,
        "exclude": args.exclude,
        "start": as_setting(args.start, "--start"),
        "fps": as_setting(args.fps, "--fps"),
    }


def named_paths(args: argparse.Namespace, name: str, num_classes: int | None) -> dict:
    """Return arguments of ``check_dataset`` of a registered dataset, or of ``check_tube_dataset``."""
    known = MetadataCatalog.get(name).as_dict() if name in MetadataCatalog.list() else {}
    if "tubes" in known:
        if args.fix_exclude:
            raise UserError(f"--fix-exclude: {name} has tubes, which exclusion lists do not apply to")
        return {"metadata": MetadataCatalog.get(name), "num_classes": num_classes}
    if "ground_truth" not in known:
        raise UserError(f"{name}: no dataset of this name; give --videos, --annotations and --label-map")
    meta = MetadataCatalog.get(name)
    return {
        "video_root": meta.video_root,
        "annotations": meta.ground_truth,
        "label_map": meta.label_map,
        "persons_only": meta.persons_only,
        "exclude": args.exclude or meta.exclude,
        "start": meta.start,
        "fps": meta.fps,
        "num_classes": num_classes,
    }


def datasets(args: argparse.Namespace) -> tuple[dict[str, dict], list[str], dict[str, tuple[Path, float]]]:
    """Return arguments of ``check_dataset`` by name, the evaluated names, and person-box files with their score."""
    given_boxes = args.person_boxes
    if not args.names and not args.config_file:
        name = str(args.annotations)
        return {name: own_paths(args)}, [name], {name: (given_boxes, 0.0)} if given_boxes else {}
    names, cfg = list(args.names), None
    if args.config_file:
        cfg = setup_cfg(args.config_file)
        names = names or [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    else:
        register_builtin()
    names = list(dict.fromkeys(names))
    if not names:
        raise UserError(f"{args.config_file}: DATASETS.TRAIN and TEST are empty; name a dataset")
    columns = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES if cfg else None
    paths = {name: named_paths(args, name, columns) for name in names}
    tests = [name for name in names if name in cfg.DATASETS.TEST] if cfg else names[1:] or names
    boxes = {}
    if given_boxes:
        if len(names) > 1:
            raise UserError("--person-boxes: name the one dataset that the file belongs to")
        boxes[names[0]] = (given_boxes, 0.0)
    elif cfg:
        for split in ("TRAIN", "TEST"):
            files = cfg.DATASETS[f"PERSON_BOXES_{split}"]
            for name, file in zip(cfg.DATASETS[split], files, strict=False):
                if name in paths:
                    boxes[name] = (file, cfg.DATASETS.PERSON_BOX_SCORE)
    return paths, tests, boxes


def add_protocol_notes(path: str, report: DatasetReport) -> None:
    """Note which evaluation protocols can't be used with a dataset, and what published evaluators refuse in its file."""
    try:
        truth = GroundTruth(path)
    except UserError:
        # Its faults are in the report.
        return
    left_out, refused = [], defaultdict(list)
    for name, protocol in PROTOCOLS.items():
        if not truth.readable(protocol):
            left_out.append(name)
            continue
        try:
            read_rows(path, "gt", protocol)
        except UserError as error:
            # Protocols that refuse a file for one reason are told of in one line.
            where, _, what = str(error).partition(", row ")
            refused[f"{where}, row {what.replace(name, 'it')}"].append(name)
    if left_out:
        report.notes.append(
            f"{path}: timestamps between whole seconds; protocols {', '.join(left_out)} are left out in training"
        )
    for error, names in refused.items():
        report.notes.append(
            f"published evaluators ({', '.join(names)}) refuse the file, this project's training does not: {error}"
        )


def print_report(report: DatasetReport, show: int, rows: str = "rows") -> None:
    """Print classes, then faults by kind, then one line of verdict."""
    frames = "key frames" if rows == "rows" else "boxes"
    print(f"{report.videos} videos, {report.key_frames} {frames}, {report.rows} {rows}")
    for action in sorted(set(report.classes) | set(report.names)):
        count = report.classes[action]
        print(
            f"  {action:>4}  {report.names.get(action, '?'):<40} {count:>8}{'' if count else '   no example'}"
        )
    print_faults(report, show)


def print_faults(report: DatasetReport, show: int) -> None:
    """Print faults by kind, notes, and one line of verdict."""
    by_kind = defaultdict(list)
    for fault in report.faults:
        by_kind[fault.kind].append(fault)
    for kind, faults in by_kind.items():
        print(f"\n{kind}: {len(faults)} ({KINDS[kind]})")
        for fault in faults[:show]:
            print(f"  {fault.where}: {fault.text}")
        if len(faults) > show:
            print(f"  ... and {len(faults) - show} more")
    if (changes := report.label_changes) is not None:
        print(f"\nlabels: {changes}")
    for note in report.notes:
        print(f"\nnote: {note}")
    print(
        f"\n{counted(len(report.faults), 'fault')} of {counted(len(by_kind), 'kind')}"
        if by_kind
        else "\nno faults"
    )


@one_line_errors()
def main(argv: list[str] | None = None) -> int:
    """Check, print, and write the exclusion list that was asked for."""
    args = parse(argv)
    if args.tubes:
        report = check_tubes(args.tubes, args.split)
        print_report(report, args.show, rows="tubes")
        return 1 if report.faults else 0
    paths, tests, boxes = datasets(args)
    if args.fix_exclude and len(paths) > 1:
        raise UserError("--fix-exclude: name the one dataset that the list is for")
    for given in paths.values():
        if "metadata" in given:
            continue
        refuse_overwriting_inputs(
            [given["annotations"], given["label_map"], args.config_file], [args.fix_exclude]
        )
    reports = {}
    for name, given in paths.items():
        if len(paths) > 1:
            print(f"== {name}")
        if "metadata" in given:
            reports[name] = check_tube_dataset(**given)
            print_report(reports[name], args.show)
            continue
        report = reports[name] = check_dataset(**given)
        if name in boxes:
            check_person_boxes(boxes[name][0], report, boxes[name][1])
        if name in tests and not given["persons_only"]:
            add_protocol_notes(str(given["annotations"]), report)
        print_report(report, args.show)
        if args.fix_exclude:
            added = write_exclusions(report, args.fix_exclude, given["exclude"])
            print(
                f"{args.fix_exclude}: {counted(added, 'key frame')} added; give it as the dataset's EXCLUDE"
            )
    faults = sum(len(report.faults) for report in reports.values())
    if len(paths) > 1:
        train = {name: report for name, report in reports.items() if name not in tests}
        both = check_splits(train or reports, {name: reports[name] for name in tests if train})
        print("== together")
        print_faults(both, args.show)
        faults += len(both.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
