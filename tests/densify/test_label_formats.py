"""No row is lost between csv, COCO-style json and CVAT xml, and others' readers read them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, example, given, settings
from label_rows import NAMES, VIDEO, label_rows, some_rows
from loading import load_script

from mestad_d2.densify.formats.coco import read_coco, write_coco
from mestad_d2.densify.formats.csv_files import as_line, read_dense_csv, write_dense_csv
from mestad_d2.densify.formats.cvat import read_cvat, write_cvat
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow


def as_set(rows: list[AnnotationRow]) -> set[AnnotationRow]:
    """Order aside."""
    assert len(set(rows)) == len(rows)
    return set(rows)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label_rows())
def test_no_row_is_lost(tmp_path: Path, rows: list[AnnotationRow]) -> None:
    sparse, dense = tmp_path / "sparse.csv", tmp_path / "dense.csv"
    sparse.write_text("".join(as_line(row) + "\n" for row in rows if row.confidence is None))
    write_dense_csv(dense, sparse, [row for row in rows if row.confidence is not None])
    assert dense.read_bytes().startswith(sparse.read_bytes())
    read = read_dense_csv(dense)
    assert as_set(read) == as_set(rows)
    write_coco(tmp_path / "dense.json", [VIDEO], read, NAMES)
    assert as_set(read_coco(tmp_path / "dense.json")[0]) == as_set(rows)
    write_cvat(tmp_path / "v.xml", VIDEO, read, NAMES)
    texts = {VIDEO.frame(row.timestamp): row.timestamp for row in rows}
    assert as_set(read_cvat(tmp_path / "v.xml", VIDEO, texts)) == as_set(rows)


def test_cvat_is_outside_where_nobody_was_labelled(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ET

    write_cvat(tmp_path / "v.xml", VIDEO, some_rows(), NAMES)
    tracks = ET.parse(tmp_path / "v.xml").getroot().findall("track")
    flags = [[(int(b.get("frame")), int(b.get("outside"))) for b in track] for track in tracks]
    assert flags[0] == [(0, 0), (5, 0), (10, 0), (15, 0), (16, 1), (80, 0), (85, 1)]
    assert flags[1] == [(0, 0), (5, 0), (10, 1), (15, 0), (16, 1)]


def test_boxes_that_cvat_interpolated_do_not_count(tmp_path: Path) -> None:
    rows = some_rows()
    write_cvat(tmp_path / "v.xml", VIDEO, rows, NAMES)
    text = (tmp_path / "v.xml").read_text()
    between = '<box frame="7" keyframe="0" outside="0" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    tick = '<attribute name="1: stand">true</attribute>'
    drawn = between.replace('"7"', '"8"').replace('"0"', '"1"', 1).replace("/>", f">{tick}</box>")
    (tmp_path / "v.xml").write_text(text.replace("</track>", between + drawn + "</track>", 1))
    texts = {VIDEO.frame(row.timestamp): row.timestamp for row in rows}
    found = read_cvat(tmp_path / "v.xml", VIDEO, texts)
    added = [row for row in found if row not in rows]
    assert [(row.timestamp, row.action_id, row.person_id, row.confidence) for row in added] == [
        ("10.320000", 1, -1, None)
    ]


def test_pycocotools_reads_the_json(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    write_coco(tmp_path / "dense.json", [VIDEO], some_rows(), NAMES)
    coco = COCO(str(tmp_path / "dense.json"))
    assert len(coco.anns) == len(some_rows()) and len(coco.imgs) == 5
    for annotation in coco.loadAnns(coco.getAnnIds()):
        x, y, w, h = annotation["bbox"]
        assert w > 0 and h > 0 and annotation["area"] == pytest.approx(w * h, rel=1e-4)
        assert annotation["category_id"] in coco.cats and annotation["image_id"] in coco.imgs
    assert coco.loadRes(coco.loadAnns(coco.getAnnIds())).anns
    assert {c["name"] for c in coco.cats.values()} >= set(NAMES.values())


def test_the_projects_own_converter_reads_the_json(tmp_path: Path) -> None:
    write_coco(tmp_path / "dense.json", [VIDEO], some_rows(), NAMES)
    load_script("datasets/convert_coco_video.py").main(
        [str(tmp_path / "dense.json"), "--output", str(tmp_path / "x.csv")]
    )
    found = read_dense_csv(tmp_path / "x.csv")
    key = lambda row: (float(row.timestamp), row.action_id, row.person_id, row.confidence)  # noqa: E731
    assert sorted(map(key, found)) == sorted(map(key, some_rows()))


@pytest.fixture(scope="module")
def datumaro() -> ModuleType:
    """Another project's reader."""
    return pytest.importorskip(
        "datumaro", reason="datumaro, whose CVAT reader this is checked with, is absent"
    )


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(label_rows())
@example(some_rows())
def test_datumaro_reads_the_cvat_file(
    datumaro: ModuleType, tmp_path: Path, rows: list[AnnotationRow]
) -> None:
    """Every row's frame, box and action, in another project's hands."""
    write_cvat(tmp_path / "v.xml", VIDEO, rows, NAMES)
    data = datumaro.Dataset.import_from(str(tmp_path / "v.xml"), "cvat")
    size = (VIDEO.width, VIDEO.height) * 2
    found = sorted(
        (item.attributes["frame"], int(name.split(":")[0]), *(v / s for v, s in zip(box.points, size, strict=True)))
        for item in data for box in item.annotations if not box.attributes.get("outside")
        for name, value in box.attributes.items() if value is True and ": " in name
    )  # fmt: skip
    wanted = sorted((VIDEO.frame(row.timestamp), row.action_id, *row.box) for row in rows)
    assert len(found) == len(wanted)
    # datumaro keeps two decimals of a pixel; the order of boxes closer than that is open.
    for row in wanted:
        same = [other for other in found if other == pytest.approx(row, abs=1e-4)]
        assert same, row
        found.remove(same[0])


@pytest.mark.parametrize(
    "text", ["", "no xml", "<annotations><track id='0'><box frame='x'/></track></annotations>"]
)
def test_what_is_no_cvat_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.xml").write_text(text)
    with pytest.raises(UserError, match=r"v\.xml"):
        read_cvat(tmp_path / "v.xml", VIDEO, {})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"videos": [], "images": [], "annotations": [{"id": 3}]}'])
def test_what_is_no_coco_json_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(UserError, match=r"d\.json"):
        read_coco(tmp_path / "d.json")


def test_windows_line_ends_and_a_missing_last_one(tmp_path: Path) -> None:
    sparse, dense = tmp_path / "s.csv", tmp_path / "d.csv"
    sparse.write_bytes(b"\xef\xbb\xbfv,0001,0.1,0.1,0.2,0.2,1,0\r\nv,0002,0.1,0.1,0.2,0.2,1,0")
    write_dense_csv(dense, sparse, [AnnotationRow("v", "1.5", (0.1, 0.1, 0.2, 0.2), 1, 0, 0.5)])
    assert dense.read_bytes() == sparse.read_bytes() + b"\r\nv,1.5,0.1000,0.1000,0.2000,0.2000,1,0,0.5000\r\n"
    assert [row.confidence for row in read_dense_csv(dense)] == [None, None, 0.5]
