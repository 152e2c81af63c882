"""docs/fidelity.md names every open point of the paper, and configs hold what it says."""

from __future__ import annotations

import re

import pytest
import yaml
from detectron2.config import CfgNode
from tiny import ROOT

from mestad_d2 import model_zoo

PAGE = (ROOT / "docs" / "fidelity.md").read_text()
ENTRY = re.compile(r"`(?P<key>[A-Z0-9_.]+)` (?P<ours>.+?)(?: \(release (?P<release>.+)\))?")
TOPICS = {
    "lambda_cls = 10", "FPN source", "FPN", "res5", "lateral connections", "FCOS tower", "centerness target",
    "FCOS- of Table 2", "threshold score", "proposals in the action loss", "action head", "score of a detection",
    "unlabelled loss", "TLA cost", "both neighbours", "unlabelled centre", "views", "EMA", "teacher mode",
    "initial weights", "AVA clip", "resizing", "augmentation", "optimiser", "BN", "pixels",
}  # fmt: skip


def rows() -> dict[str, list[str]]:
    """Topic -> paper, release, ours, keys."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if "|" in line
    ]
    return {row[0]: row[1:] for row in cells if len(row) == 5 and row[0] != "topic" and set(row[0]) != {"-"}}


def entries() -> list[tuple[str, str, object, object]]:
    """(topic, key, our value, the release's value) of the whole page."""
    found = []
    for topic, (*_, keys) in rows().items():
        for text in keys.split("; "):
            entry = ENTRY.fullmatch(text)
            assert entry, f"{topic}: {text}"
            ours = yaml.safe_load(entry["ours"])
            release = yaml.safe_load(entry["release"]) if entry["release"] else ours
            found.append((topic, entry["key"], ours, release))
    return found


def value_of(cfg: CfgNode, key: str) -> object:
    """The value at a dotted key; KeyError where there is none."""
    node = cfg
    for part in key.split("."):
        node = node[part]
    return list(node) if isinstance(node, tuple) else node


def set_by(name: str) -> set[str]:
    """Dotted keys that a yaml file itself sets."""
    found = set()

    def walk(node: dict, path: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{path}{key}.")
            else:
                found.add(path + key)

    with open(model_zoo.get_config_file(name)) as file:
        walk(yaml.safe_load(file), "")
    return found


def test_every_open_point_is_there_with_a_key() -> None:
    assert set(rows()) == TOPICS
    assert {topic for topic, *_ in entries()} == TOPICS


@pytest.mark.parametrize(("name", "column"), [("SlowFast_R50_8x8", 2), ("SlowFast_R50_8x8_release", 3)])
def test_the_configs_have_the_values_of_the_page(name: str, column: int) -> None:
    cfg = model_zoo.get_config(f"AVA-v2.2/{name}")
    for entry in entries():
        assert value_of(cfg, entry[1]) == pytest.approx(entry[column]), f"{entry[0]}: {entry[1]}"


def test_the_release_config_differs_where_the_page_says_and_nowhere_else() -> None:
    ours, release = (
        model_zoo.get_config(f"AVA-v2.2/{name}") for name in ("SlowFast_R50_8x8", "SlowFast_R50_8x8_release")
    )
    told = {key for _, key, a, b in entries() if a != b}
    changed = {
        key
        for key in set_by("AVA-v2.2/SlowFast_R50_8x8_release") - {"_BASE_", "OUTPUT_DIR"}
        if value_of(ours, key) != value_of(release, key)
    }
    assert changed == told
