"""The xml beside the published description of "CVAT for video 1.1", read without any code of ours."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from label_rows import NAMES, VIDEO, label_rows, some_rows

from mestad_d2.densify.formats.cvat import label_spec, write_cvat
from mestad_d2.formats.ava_csv import AnnotationRow

INTEGER, NUMBER, FLAG = r"\d+", r"-?\d+(\.\d+)?", "[01]"
# docs.cvat.ai, "XML annotation format", version 1.1, interpolation: what must be there, and its form.
TASK = {
    "id": INTEGER, "name": ".*", "size": INTEGER, "mode": "interpolation", "overlap": INTEGER, "bugtracker": ".*",
    "flipped": "True|False", "original_size/width": INTEGER, "original_size/height": INTEGER,
}  # fmt: skip
ATTRIBUTE = {
    "name": ".+", "mutable": "True|False", "input_type": "select|checkbox|radio|number|text",
    "default_value": ".*", "values": ".*",
}  # fmt: skip
TRACK = {"id": INTEGER, "label": ".+", "source": "manual|auto"}
BOX = {
    "frame": INTEGER, "xtl": NUMBER, "ytl": NUMBER, "xbr": NUMBER, "ybr": NUMBER, "outside": FLAG,
    "occluded": FLAG, "keyframe": FLAG,
}  # fmt: skip
# The task manager's importer reads it where it is there.
OPTIONAL = {"z_order": r"-?\d+"}


def check_texts(element: ET.Element, fields: dict[str, str]) -> None:
    for path, form in fields.items():
        found = element.findall(path)
        assert len(found) == 1, f"{element.tag}: {len(found)} {path}"
        assert re.fullmatch(form, found[0].text or "", flags=re.S), f"{path}: {found[0].text!r}"


def check_fields(element: ET.Element, fields: dict[str, str]) -> None:
    missing, more = fields.keys() - element.keys(), element.keys() - fields.keys() - OPTIONAL.keys()
    assert not missing and not more, f"{element.tag}: without {missing}, with {more}"
    for name, value in element.items():
        assert re.fullmatch({**fields, **OPTIONAL}[name], value, flags=re.S), (
            f"{element.tag} {name}: {value!r}"
        )


def check_cvat(path: Path) -> None:
    """Assert that a file is what the description says, and consistent with itself."""
    root = ET.parse(path).getroot()
    assert root.tag == "annotations" and {child.tag for child in root} <= {"version", "meta", "track"}
    check_texts(root, {"version": r"1\.1", "meta/dumped": ".*"})
    task = root.find("meta/task")
    check_texts(task, TASK)
    size, width, height = (
        int(task.findtext(p)) for p in ("size", "original_size/width", "original_size/height")
    )
    labels: dict[str, dict[str, str]] = {}
    for label in task.iterfind("labels/label"):
        assert label.findtext("name") and label.findtext("name") not in labels
        kinds = labels[label.findtext("name")] = {}
        for attribute in label.iterfind("attributes/attribute"):
            check_texts(attribute, ATTRIBUTE)
            assert attribute.findtext("name") not in kinds
            kinds[attribute.findtext("name")] = attribute.findtext("input_type")
    tracks = root.findall("track")
    assert len({track.get("id") for track in tracks}) == len(tracks)
    for track in tracks:
        check_fields(track, TRACK)
        kinds = labels[track.get("label")]
        assert {child.tag for child in track} == {"box"}
        frames = [int(box.get("frame")) for box in track]
        assert frames == sorted(set(frames)) and frames[-1] < size
        assert track[0].get("keyframe") == "1" and track[0].get("outside") == "0"
        for box in track:
            check_fields(box, BOX)
            left, top, right, bottom = (float(box.get(side)) for side in ("xtl", "ytl", "xbr", "ybr"))
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            names = [attribute.get("name") for attribute in box]
            assert len(set(names)) == len(names) and set(names) <= kinds.keys()
            for attribute in box:
                assert attribute.tag == "attribute" and attribute.keys() == ["name"]
                if kinds[attribute.get("name")] == "checkbox":
                    assert attribute.text in ("true", "false")


Shown = list[tuple[tuple[float, ...], frozenset[int]]]


def shown(path: Path, frame: int) -> Shown:
    """Boxes in pixels and ticked actions on a frame, as CVAT shows them: each track's last box up to there, moved
    on a line to its next one."""
    found = []
    for track in ET.parse(path).getroot().iterfind("track"):
        before = [box for box in track if int(box.get("frame")) <= frame]
        if not before or before[-1].get("outside") == "1":
            continue
        box = before[-1]
        assert int(box.get("frame")) == frame, "CVAT would interpolate on a labelled frame"
        corners = tuple(float(box.get(side)) for side in ("xtl", "ytl", "xbr", "ybr"))
        actions = (a.get("name").split(": ") for a in box if a.text == "true")
        found.append((corners, frozenset(int(action[0]) for action in actions)))
    return found


def expected(rows: list[AnnotationRow], frame: int) -> Shown:
    people: dict[tuple, set[int]] = {}
    for row in rows:
        if round((float(row.timestamp) - VIDEO.start) * 25) == frame:
            people.setdefault((row.person_id, row.box), set()).add(row.action_id)
    size = (VIDEO.width, VIDEO.height) * 2
    return [
        (tuple(v * s for v, s in zip(box, size, strict=True)), frozenset(actions))
        for (_, box), actions in people.items()
    ]


def assert_same(found: Shown, wanted: Shown) -> None:
    """One to one; a corner may be off by half of the last digit that the file holds."""
    left = list(wanted)
    for corners, actions in found:
        fits = [
            item for item in left if item[1] == actions and item[0] == pytest.approx(corners, abs=0.00501)
        ]
        assert fits, (corners, actions, left)
        left.remove(fits[0])
    assert not left


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label_rows())
def test_files_are_as_the_description_says_and_show_the_rows(
    tmp_path: Path, rows: list[AnnotationRow]
) -> None:
    write_cvat(tmp_path / "v.xml", VIDEO, rows, NAMES)
    check_cvat(tmp_path / "v.xml")
    for frame in {round((float(row.timestamp) - VIDEO.start) * 25) for row in rows}:
        assert_same(shown(tmp_path / "v.xml", frame), expected(rows, frame))


@pytest.mark.parametrize(
    ("old", "new"),
    [("<version>1.1", "<version>2"), ('label="person"', 'label="car"'), ('outside="0"', 'outside="no"'),
     ('frame="5"', 'frame="0"'), ('frame="0"', 'frame="100"'), (' xtl="16.100000"', ""), ("true<", "yes<"),
     ("<mode>interpolation", "<mode>annotation"), ('name="1: stand">true', 'name="stand">true'),
     ("<input_type>checkbox", "<input_type>tick"), ("<size>100</size>", "")],
)  # fmt: skip
def test_the_check_finds_what_is_wrong(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "v.xml"
    write_cvat(path, VIDEO, some_rows(), NAMES)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises((AssertionError, KeyError)):
        check_cvat(path)


def test_the_label_of_a_new_task_declares_what_the_tracks_use(tmp_path: Path) -> None:
    write_cvat(tmp_path / "v.xml", VIDEO, some_rows(), NAMES)
    (label,) = json.loads(json.dumps(label_spec(NAMES)))
    declared = {attribute["name"] for attribute in label["attributes"]}
    root = ET.parse(tmp_path / "v.xml").getroot()
    assert {track.get("label") for track in root.iterfind("track")} == {label["name"]}
    assert {a.get("name") for a in root.iter("attribute") if a.get("name")} <= declared
    for attribute in label["attributes"]:
        assert attribute.keys() == {"name", "mutable", "input_type", "default_value", "values"}
        assert attribute["input_type"] != "checkbox" or attribute["default_value"] in ("true", "false")
