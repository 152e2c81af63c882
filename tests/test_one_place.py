"""One concept has one file: a second reader of a format, a second IoU or a second writer aside fails here."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("mestad_d2", "tools", "datasets", "scripts", "examples")


@cache
def sources() -> list[tuple[str, ast.Module]]:
    """Name from the root and syntax tree of every source file."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())) for path in paths]


def defining(pattern: str) -> set[str]:
    """Files that define a function whose name fits."""
    return {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and re.fullmatch(pattern, node.name)
    }


def importing(module: str) -> set[str]:
    """Files that import a module."""
    return {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and module in [alias.name for alias in node.names])
        or (isinstance(node, ast.ImportFrom) and node.module == module)
    }


def test_iou_is_defined_once_in_numpy_and_once_with_gradients() -> None:
    assert defining(r"(.*_)?[gdc]?iou(s|_.*)?") == {
        "mestad_d2/boxes.py",
        "mestad_d2/modeling/proposal_generator/boxes.py",
        # Pixels as seven published evaluators of tubes count them, and tubes.
        "mestad_d2/evaluation/tubes/overlap.py",
    }


def test_pickles_are_read_in_one_file() -> None:
    # The benchmark writes what published evaluators read.
    assert importing("pickle") == {
        "mestad_d2/formats/safe_pickle.py",
        "mestad_d2/benchmarks/tubes/evaluation.py",
    }


def test_label_maps_exclusions_and_rows_are_read_in_one_file() -> None:
    assert defining(r"(read_|load_|parse_)label_?maps?") == {"mestad_d2/formats/label_map.py"}
    assert defining(r"(read_|load_|parse_).*exclusions") == {"mestad_d2/formats/ava_csv.py"}
    assert defining(r"parse_row|csv_lines") == {"mestad_d2/formats/ava_csv.py"}


def test_csv_text_is_split_by_few_files() -> None:
    # The reader of AVA's csv, of label maps, of tubes; and three writers of tables with other columns.
    assert importing("csv") == {
        "mestad_d2/formats/ava_csv.py",
        "mestad_d2/formats/label_map.py",
        "mestad_d2/formats/tubes/csv_files.py",
        "mestad_d2/data/person_boxes.py",
        "mestad_d2/inference/results/outputs.py",
        "mestad_d2/inference/batch/jobs.py",
    }


def test_files_are_written_aside_in_one_file() -> None:
    found = set()
    for name, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            method, arguments = node.func.attr, len(node.args) + len(node.keywords)
            # str.replace has two arguments, dataclasses.replace is no method, Path.replace has one.
            renames = method in ("rename", "renames") or (
                method == "replace" and (arguments == 1 or ast.unparse(node.func) == "os.replace")
            )
            if renames:
                found.add(name)
    assert found == {
        "mestad_d2/formats/files.py",
        # Whole folders, a download that goes on where it stopped, and files that a tool made elsewhere.
        "mestad_d2/data/toy/dataset.py",
        "mestad_d2/data/prepare/download.py",
        "mestad_d2/video/output/extract.py",
        "scripts/install_detectron2.py",
        "scripts/run_demo.py",
        # A video that is renamed only if it has a frame.
        "mestad_d2/video/output/trim.py",
    }
