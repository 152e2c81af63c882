"""Label maps in every form that people have, with one right answer, in linear time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mestad_d2.errors import UserError
from mestad_d2.formats.label_map import read_label_map

SIT_STAND = {1: "sit", 3: "stand"}
FORMS = {
    "AVA's pbtxt": 'label {\n  name: "sit"\n  label_id: 1\n}\nlabel {\n  name: "stand"\n  label_id: 3\n}\n',
    "id before name": 'item {\n  id: 1\n  name: "sit"\n}\nitem {\n  id: 3\n  name: "stand"\n}\n',
    "single quotes": "item {\n  id: 1\n  name: 'sit'\n}\nitem {\n  id: 3\n  name: 'stand'\n}\n",
    "one line, commas": 'item { id: 1, name: "sit" } item { id: 3, name: "stand" }',
    "tabs": 'item {\n\tname: "sit"\n\tid: 1\n}\nitem {\n\tname: "stand"\n\tid: 3\n}\n',
    "no blank behind the colon": 'item {\n  id:1\n  name:"sit"\n}\nitem {\n  id:3\n  name:"stand"\n}\n',
    "comments": '# mine\nitem { # first\n  id: 1\n  name: "sit"\n}\nitem {\n  id: 3\n  name: "stand"\n}\n',
    "more fields": 'item {\n  name: "sit"\n  id: 1\n  display_name: "x"\n  parts { id: 9 name: "y" }\n}\n'
    'item {\n  name: "stand"\n  id: 3\n}\n',
    "display names": 'item {\n  id: 1\n  display_name: "sit"\n}\nitem {\n  id: 3\n  display_name: "stand"\n}\n',
    "no braces": '  name: "sit"\n  id: 1\n  name: "stand"\n  id: 3\n',
    "no braces, id first": '  id: 1\n  name: "sit"\n  id: 3\n  name: "stand"\n',
    "a class that is not evaluated": 'item {\n  name: "sit"\n  id: 1\n}\n    name: "deep"\n    id: 4\n'
    'item {\n  name: "stand"\n  id: 3\n}\n',
    "lines": "1: sit\n3: stand\n",
    "lines with blanks": "  3 : stand \r\n\r\n1:sit\r\n",
    "background": "0: background\n1: sit\n3: stand\n",
    "background, underlined": "0: __background__\n1: sit\n3: stand\n",
    "id name": "1 sit\n3 stand\n",
    "AVA's csv": "label_id,label_name,label_type\n1,sit,PERSON_MOVEMENT\n3,stand,PERSON_MOVEMENT\n",
    "csv": "1,sit\n3,stand\n",
    "csv with quotes": '"1","sit"\n"3","stand"\n',
    "name,id": "name,id\nsit,1\nstand,3\n",
    "semicolons": "id;name\n1;sit\n3;stand\n",
    "tabs between": "1\tsit\n3\tstand\n",
    "json": '{"sit": 1, "stand": 3}',
    "json, ids first": '{"1": "sit", "3": "stand"}',
    "json of COCO": '{"info": {}, "categories": [{"id": 1, "name": "sit"}, {"id": 3, "name": "stand"}]}',
    "json list": '[{"id": 1, "name": "sit"}, {"id": 3, "name": "stand"}]',
    "a mark in front": "\ufeff1: sit\n3: stand\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path: Path, form: str) -> None:
    (tmp_path / "map").write_text(FORMS[form], encoding="utf-8", newline="")
    assert read_label_map(tmp_path / "map").names == SIT_STAND
    # The form of version 0.1: names and groups.
    assert read_label_map(str(tmp_path / "map"))[0] == SIT_STAND


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sit\nstand\n\nwalk\n", {1: "sit", 2: "stand", 3: "walk"}),
        ("__background__\nsit\nstand", {1: "sit", 2: "stand"}),
        ('["sit", "crouch, kneel"]', {1: "sit", 2: "crouch, kneel"}),
        ("crouch, kneel\nsit", {1: "crouch, kneel", 2: "sit"}),
        ("1: crouch: or kneel\n2: 3 steps", {1: "crouch: or kneel", 2: "3 steps"}),
        ('3,"crouch, kneel"\n4,hand clap, loud', {3: "crouch, kneel", 4: "hand clap, loud"}),
        (
            'item {\n  name: "sit \\"down\\", it\\\'s \\\\ \\346\\274\\242"\n  id: 1\n}',
            {1: 'sit "down", it\'s \\ 漢'},
        ),
        ("1: sit\n2: sit\n", {1: "sit", 2: "sit"}),
        ("1: sit\n1: sit\n", {1: "sit"}),
    ],
)
def test_names(tmp_path: Path, text: str, names: dict[int, str]) -> None:
    (tmp_path / "map").write_text(text, encoding="utf-8")
    assert read_label_map(tmp_path / "map").names == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no class found"),
        ("0: sit\n1: stand", "line 1: id 0 ('sit') is out of range; ids start at 1"),
        ('{"sit": 0}', "id 0 ('sit') is out of range"),
        ("1: sit\n1: stand\n", "line 2: id 1 is there twice ('sit', 'stand')"),
        ("1: sit\n2: stand\nwalk\n", "line 3: 'walk' is no entry like '12:stand'"),
        ('item {\n  name: "sit"\n}\n', "the entry with name 'sit' lacks an id"),
        ("item {\n  id: 4\n}\n", "line 2: the entry with id 4 lacks a name"),
        ("  name: sit\n  id: 1\n", "line 1: no name in quotes"),
        ('item {\n  name: "a"\n  id: 1\n  name: "b"\n  id: 2\n}\n', "line 4: a second name in one entry"),
        ('item {\n  name: "a"\n  id: one\n}\n', "line 3: 'one' is no id"),
        ("99999999999: sit", "out of range"),
        ("a,1,0.1,0.1,0.5,0.5,1,0\n", "line 1: 'a,1,0.1,0.1,0.5,0.5,1,0' is no name"),
        ("1,2,3\n", "is no name of an action"),
        ('{"a": {"b": [1]}}', "this json is no label map"),
        ("x" * 20_000, "line 1: longer than 10000 characters"),
        ("\n" * 200_000, "more than 100000 lines"),
    ],
)
def test_what_is_no_label_map(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "map").write_text(text)
    with pytest.raises(UserError) as error:
        read_label_map(tmp_path / "map")
    line = str(error.value)
    assert said in line and str(tmp_path / "map") in line and "\n" not in line and len(line) < 600


@pytest.mark.parametrize(
    "line",
    ["1: " + " " * 9000 + "a", "1:" + " " * 9000, " " * 9900 + ",", '"' * 9900, 'name: "' + "\\" * 9900,
     "id: " * 2400, "{" * 9900, "x" * 9900, "1," * 4900, "'\\" * 4000],
)  # fmt: skip
def test_time_is_linear(tmp_path: Path, line: str) -> None:
    times = []
    for count in (5, 40):
        (tmp_path / "map").write_text((line + "\n") * count)
        start = time.process_time()
        try:
            read_label_map(tmp_path / "map")
        except UserError as error:
            assert "\n" not in str(error)
        times.append(time.process_time() - start)
    # 400 KB: quadratic readers take minutes.
    assert times[1] < 3


def test_ava_groups(tmp_path: Path) -> None:
    names = {11: "sit", 12: "stand", 14: "walk", 17: "carry/hold (an object)", 79: "talk to (e.g., self)"}
    (tmp_path / "l").write_text("".join(f"{i}: {name}\n" for i, name in names.items()))
    labels = read_label_map(tmp_path / "l")
    assert [labels.group_of(i) for i in names] == ["pose", "pose", "pose", "object", "person"]
    (tmp_path / "l").write_text("11: jump\n12: stand\n14: walk\n17: carry\n79: talk\n")
    assert read_label_map(tmp_path / "l").group_of(12) is None
