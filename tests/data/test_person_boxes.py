"""Files of person boxes: every form gives the same boxes, and look-alikes are refused in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mestad_d2.data.person_boxes import nobody, read_person_boxes, write_person_boxes
from mestad_d2.errors import UserError
from mestad_d2.people import People

BOXES = np.array([[0.1, 0.2, 0.4, 0.8, 0.9], [0.5, 0.2, 0.6, 0.8, 0.3]])
WANTED = {("a/b", 902.0): BOXES, ("c", 3.48): BOXES[:1]}


def entry(image: object, row: np.ndarray, scale: tuple[float, float] = (1, 1), **more: object) -> dict:
    """One COCO result of a box in fractions."""
    x1, y1, x2, y2, score = row.tolist()
    box = [x1 * scale[0], y1 * scale[1], (x2 - x1) * scale[0], (y2 - y1) * scale[1]]
    return {"image_id": image, "category_id": 1, "bbox": box, "score": score, **more}


def results(names: dict, scale: tuple[float, float] = (1, 1)) -> list[dict]:
    """Results of all boxes, and one of a dog."""
    found = [entry(names[key], row, scale) for key, boxes in WANTED.items() for row in boxes]
    return [*found, {**entry(next(iter(names.values())), BOXES[0], scale), "category_id": 18}]


IMAGES = [
    {"id": 7, "file_name": "a/b/0902.jpg", "width": 320, "height": 200},
    {"id": 9, "video": "c", "timestamp": "3.48", "file_name": "x.jpg", "width": 320, "height": 200},
]
FORMS = {
    "b.csv": "a/b,0902,0.1,0.2,0.4,0.8,,0.9\na/b,902,0.5,0.2,0.6,0.8,1,0.3\nc,3.480,0.1,0.2,0.4,0.8,0.9\n",
    "b.pkl": pickle.dumps(
        {"a/b,0902": BOXES.astype(np.float64), "c,3.48": BOXES[0], "d,1": np.zeros((0, 5))}
    ),
    "lists.pkl": pickle.dumps({"a/b,0902": BOXES.tolist(), "c,3.48": BOXES[:1].tolist(), "d,1": []}),
    "tuples.pkl": pickle.dumps({("a/b", 902): BOXES, ("c", "3.48"): BOXES[:1]}),
    "named.json": json.dumps(results({("a/b", 902.0): "a/b,0902", ("c", 3.48): "c,3.48"})),
    "whole.json": json.dumps(
        {
            "images": IMAGES,
            "annotations": results({("a/b", 902.0): 7, ("c", 3.48): 9}, (320, 200)),
            "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "Person"}],
        }
    ),
    "fields.json": json.dumps(
        [
            entry(i, row, (64, 32), video=key[0], timestamp=key[1], width=64, height=32)
            for i, (key, boxes) in enumerate(WANTED.items())
            for row in boxes
        ]
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_boxes(tmp_path: Path, name: str) -> None:
    content = FORMS[name]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    found = {key: people for key, people in read_person_boxes(tmp_path / name).items() if len(people)}
    assert list(found) == list(WANTED)
    for key, boxes in WANTED.items():
        np.testing.assert_allclose(found[key].fractions(), boxes[:, :4], atol=1e-12)
        np.testing.assert_allclose(found[key].scores, boxes[:, 4], atol=1e-12)
    assert len(read_person_boxes(tmp_path / name, 0.5)["a/b", 902.0]) == 1


REFUSED = {
    "ids.csv": ("a,1,0.1,0.2,0.4,0.8,1,0\na,1,0.5,0.2,0.6,0.8,1,2\n", "row 2: score 2 is outside"),
    "two_people.csv": ("a,1,0.1,0.2,0.4,0.8,1,0\na,1,0.5,0.2,0.6,0.8,1,1\n", "all scores are 0 or 1; person ids"),
    "logits.csv": ("a,1,0.1,0.2,0.4,0.8,,-1.5\n", "row 1: score -1.5"),
    "sizes.csv": ("a,1,0.5,0.6,0.2,0.3,,0.9\n" * 3, "3 of 3 boxes are empty; x,y,width,height"),
    "no_score.pkl": (pickle.dumps({"a,1": BOXES[[0, 1, 0, 1, 0], :4]}), "an array of shape (5, 4); write (N, 5)"),
    "four_numbers.pkl": (pickle.dumps({("a", 1): [[0.1, 0.2, 0.4, 0.8], [0.5, 0.2, 0.6, 0.8]]}), "of shape (2, 4)"),
    "deep.pkl": (pickle.dumps({"a,1": BOXES[None]}), "an array of shape (1, 2, 5)"),
    "text.pkl": (pickle.dumps({"a,1": [["x"] * 5]}), "entry 'a,1'"),
    "key.pkl": (pickle.dumps({"a": BOXES}), "entry 'a'"),
    "nan.pkl": (pickle.dumps({"a,1": BOXES * np.nan}), "not finite"),
    "percent.pkl": (pickle.dumps({"a,1": BOXES * [1, 1, 1, 1, 100]}), "score 90 is outside"),
    "bare.json": (json.dumps([entry(1, BOXES[0])]), "entry 0: image_id 1 names no video and second"),
    "frames.json": (json.dumps([entry("a/img_00001.jpg", BOXES[0])]), "names no video and second"),
    "pixels.json": (json.dumps([entry("a,1", BOXES[0], (640, 480))]), "bbox in pixels, and no width and height"),
    **{
        f"side {number}.json": (
            json.dumps([entry("a,1", BOXES[0], (640, 480)) | {"width": 640, "height": side}]), "no width and height"
        )
        for number, side in enumerate((10**30, 10**400, 0, -480, float("nan"), float("inf"), "480"))
    },
    "none.json": (json.dumps([{"image_id": "a,1", "category_id": 1, "bbox": [0, 0, 1, 1]}]), "'score' is not there"),
    "other.json": (json.dumps({"videos": []}), "no list of COCO results"),
    "broken.json": ("[{", "no json"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_look_alikes_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, said = REFUSED[name]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as error:
        read_person_boxes(tmp_path / name)
    assert said in str(error.value) and name in str(error.value) and "\n" not in str(error.value)


FIELDS = st.sampled_from(
    [
        "image_id",
        "category_id",
        "bbox",
        "score",
        "images",
        "annotations",
        "categories",
        "id",
        "video",
        "timestamp",
        "width",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a,1", "a/0001.jpg", "person", "", "x" * 99]),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(FIELDS, v, max_size=5),
    max_leaves=15,
)


@settings(
    deadline=None,
    max_examples=150,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=VALUES | st.lists(st.dictionaries(FIELDS, VALUES, min_size=3), max_size=2),
    kind=st.sampled_from(["json", "pkl"]),
)
@example(
    content={"images": True, "categories": 1, "annotations": [{"image_id": [], "bbox": [1]}]}, kind="json"
)
def test_anything_else_is_one_line(tmp_path: Path, content: object, kind: str) -> None:
    path = tmp_path / f"b.{kind}"
    path.write_bytes(json.dumps(content).encode() if kind == "json" else pickle.dumps(content))
    try:
        read_person_boxes(path)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)


def test_boxes_of_ground_truth_with_score_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("a,1,0.1,0.2,0.4,0.8,,1\na,2,0.1,0.2,0.4,0.8,,1.0\n")
    assert [people.scores.tolist() for people in read_person_boxes(tmp_path / "b.csv").values()] == [[1], [1]]


def test_names_that_a_spreadsheet_would_run_come_back(tmp_path: Path) -> None:
    name = '=HYPERLINK("http://x";"y").v'
    wanted = {(name, 1.0): nobody(1.0), (name, 2.0): People(2.0, BOXES[:1, :4], BOXES[:1, 4])}
    write_person_boxes(tmp_path / "b.csv", wanted)
    assert all(line.lstrip('"').startswith("'=") for line in (tmp_path / "b.csv").read_text().splitlines())
    assert list(read_person_boxes(tmp_path / "b.csv")) == list(wanted)


def test_key_frames_without_people_come_back(tmp_path: Path) -> None:
    """A film in which a detector found nobody is still a film of the file."""
    wanted = {
        ("a", 1.0): nobody(1.0),
        ("a", 2.0): People(2.0, BOXES[:1, :4], BOXES[:1, 4]),
        ("b", 0.0): nobody(0),
    }
    write_person_boxes(tmp_path / "b.csv", wanted)
    assert b"\r" not in (tmp_path / "b.csv").read_bytes()
    found = read_person_boxes(tmp_path / "b.csv", 0.5)
    assert list(found) == list(wanted)
    assert [len(people) for people in found.values()] == [0, 1, 0]
    (tmp_path / "short.csv").write_text("a,1\nb,0.5,,,,,,\n")
    assert {key: len(v) for key, v in read_person_boxes(tmp_path / "short.csv").items()} == {
        ("a", 1.0): 0,
        ("b", 0.5): 0,
    }
