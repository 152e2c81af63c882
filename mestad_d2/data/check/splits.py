"""Check pairs of files: training and validation sets, key frames and person boxes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mestad_d2.data.check.report import DatasetReport
from mestad_d2.data.person_boxes import read_person_boxes
from mestad_d2.errors import UserError, counted


def check_splits(train: Mapping[str, DatasetReport], test: Mapping[str, DatasetReport]) -> DatasetReport:
    """Note videos that are in training and test sets, and classes that only the test sets have.

    Args:
        train, test: reports of ``check_dataset`` by the name of the dataset.
    """
    report = DatasetReport()
    trained = {path: name for name, found in train.items() for path in found.files.values()}
    for name, found in test.items():
        for video_id, path in found.files.items():
            if path in trained:
                report.add("video_in_both", name, f"{video_id} is in {trained[path]} too")
    learned = {action for found in train.values() for action in found.classes}
    for name, found in test.items():
        for action in sorted(set(found.classes) - learned):
            count, called = found.classes[action], found.names.get(action, "?")
            report.add(
                "class_only_in_test",
                name,
                f"action {action} ({called}): {counted(count, 'row')}, none to learn from",
            )
    return report


def check_person_boxes(path: str | Path, report: DatasetReport, min_score: float = 0.0) -> None:
    """Note in a dataset's report what is wrong with its file of person boxes.

    Args:
        min_score: boxes below it are not used (``DATASETS.PERSON_BOX_SCORE``).
    """
    try:
        found = read_person_boxes(path, min_score)
    except UserError as error:
        report.add("person_boxes", str(path), str(error).removeprefix(f"{path}: "))
        return
    key_frames = [(video, round(time, 3)) for video, times in report.times.items() for time in times]
    without = [key for key in key_frames if not len(found.get(key, ()))]
    if key_frames and not any(key in found for key in key_frames):
        example = next(iter(found), None)
        text = f"no box of any of the {len(key_frames)} key frames, of which {key_frames[0]} is the first"
        report.add(
            "person_boxes", str(path), text + (f"; the file has {example}" if example else "; it is empty")
        )
    elif without:
        report.notes.append(
            f"{path}: {len(without)} of {len(key_frames)} key frames have no person box of score {min_score:g} or "
            f"more, {without[0]} the first"
        )
