"""Imports go downwards only, folders stay small, and detectron2's version is never compared."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mestad_d2"
# From the ground up; rooms of one floor that may see one another stand in TOGETHER.
FLOORS = (
    {
        "errors",
        "config",
        "config_files",
        "config_keys",
        "config_values",
        "load_config",
        "process_setup",
        "boxes",
        "people",
        "timing",
        "moved",
    },
    {"formats", "video"},
    {"modeling", "semisup"},
    {"model_zoo"},
    {"data", "evaluation", "checkpoint"},
    {"engine", "inference", "analysis"},
    {"densify", "graft"},
    {"benchmarks", "reproduce"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TOGETHER = (
    FLOORS[0],
    {"formats", "video"},
    {"engine", "inference", "analysis"},
    {"benchmarks", "reproduce"},
)
FILES_PER_FOLDER = 12


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports when it is loaded or run."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("mestad_d2.")}
    return rooms & FLOOR.keys()


# These two enter what the rooms register, and a config's own datasets.
ENTRIES = (PACKAGE / "__init__.py", PACKAGE / "load_config.py")
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path not in ENTRIES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    beside = next((rooms for rooms in TOGETHER if room in rooms), {room})
    allowed = {other for other, floor in FLOOR.items() if floor < FLOOR[room]} | beside
    assert imported_rooms(path) <= allowed


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert rooms - {"__init__"} == FLOOR.keys() - {"boxes"} | (rooms & {"boxes"})


@pytest.mark.parametrize("top", ["mestad_d2", "tests", "tools", "scripts", "datasets"])
def test_folders_are_small(top: str) -> None:
    folders = {path.parent for path in (ROOT / top).rglob("*.py")}
    crowded = {str(f.relative_to(ROOT)): len(list(f.glob("*.py"))) for f in folders}
    limit = {"tools": 16}
    assert not {name: count for name, count in crowded.items() if count > limit.get(name, FILES_PER_FOLDER)}


def test_versions_are_never_compared() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "detectron2.__version__" not in text, path


def test_names_of_test_files_are_unique() -> None:
    # pytest imports them by their names alone.
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
