"""Imports go downwards only, and detectron2's version is never compared."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mestad_d2"
GROUND = {"config", "errors"}
ROOMS = {"data", "modeling", "evaluation", "semisup", "checkpoint"}
TOP = {"engine", "inference", "model_zoo", "densify"}


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports when it is loaded or run."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = path.relative_to(PACKAGE.parent).parent.parts
                module = ".".join([*base[: len(base) - node.level + 1], *filter(None, [module])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("mestad_d2.")}
    return rooms & (GROUND | ROOMS | TOP)


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    allowed = GROUND | {room} | (ROOMS | TOP if room in TOP else set())
    assert imported_rooms(path) <= allowed


def test_versions_are_never_compared() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "detectron2.__version__" not in text, path
