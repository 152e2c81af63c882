"""What people drew in any tool comes out as rows, all of it and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import exports
import pytest
from exports import ACTIONS, FPS, FRAMES, HEIGHT, WIDTH, People
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import load_script

from mestad_d2.formats.ava_csv import read_ground_truth
from mestad_d2.formats.label_map import read_label_map

SIZE = ["--size", f"{WIDTH}x{HEIGHT}"]
# Writer, name of the file, flags, whether the person ids come back, whether frames without people are known.
TOOLS = {
    "cvat_video": (exports.cvat_video, "x.xml", ["--fps", str(FPS)], True, True),
    "cvat_images": (exports.cvat_images, "x.xml", ["--fps", str(FPS)], True, True),
    "label_studio": (exports.label_studio, "x.json", [], False, True),
    "via": (exports.via, "x.csv", SIZE, True, False),
    "coco": (exports.coco, "x.json", [], True, True),
    "youtube_vis": (exports.youtube_vis, "x.json", ["--fps", str(FPS)], False, True),
    "mot": (exports.mot, "x", [], True, True),
    "vatic": (exports.vatic, "a.b.txt", [*SIZE, "--fps", str(FPS)], True, True),
}


@st.composite
def drawn_people(draw: st.DrawFn) -> People:
    """Up to three people on some frames; boxes of two people on a frame are never the same."""
    people: People = {}
    for person in draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)):
        frames = draw(st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=5, unique=True))
        for frame in frames:
            x1, y1 = draw(st.integers(0, 80)) + person / 16, draw(st.integers(0, 40))
            box = (x1, float(y1), x1 + draw(st.integers(5, 90)), float(y1 + draw(st.integers(5, 50))))
            actions = draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3, unique=True))
            people.setdefault(person, {})[frame] = box, tuple(sorted(actions))
    return people


@pytest.mark.parametrize("tool", list(TOOLS))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=drawn_people())
def test_nothing_is_lost(tmp_path_factory: pytest.TempPathFactory, tool: str, people: People) -> None:
    write, name, flags, ids, negatives = TOOLS[tool]
    folder = tmp_path_factory.mktemp("export")
    write(folder / name, people)
    output, label_map = folder / "out.csv", folder / "labels.txt"
    arguments = [
        str(folder / name),
        "--output",
        str(output),
        "--label-map",
        str(label_map),
        "--rate",
        "every",
    ]
    load_script("tools/import_labels.py").main([*arguments, *flags])
    names = read_label_map(label_map).names
    rows = read_ground_truth(str(output))
    assert {row.video_id for row in rows} == {"a.b"}
    found, empty = {}, set()
    for row in rows:
        frame = round(row.timestamp * FPS)
        assert row.timestamp == pytest.approx(frame / FPS, abs=6e-4)
        if row.box is None:
            empty.add(frame)
            continue
        corners = tuple(round(v * s, 2) for v, s in zip(row.box, (WIDTH, HEIGHT) * 2, strict=True))
        found.setdefault((frame, row.person_id if ids else None, corners), set()).add(names[row.action_id])
    wanted = {
        (frame, person if ids else None, tuple(round(v, 2) for v in box)): set(actions)
        for person, shown in people.items() for frame, (box, actions) in shown.items()
    }  # fmt: skip
    assert {key: set(actions) for key, actions in found.items()} == _near(wanted, found)
    if negatives:
        assert empty == set(range(FRAMES)) - {frame for frame, _, _ in wanted}


def _near(wanted: dict, found: dict) -> dict:
    """``wanted`` with the corners of ``found`` where they differ by rounding alone."""
    result = {}
    for (frame, person, box), actions in wanted.items():
        close = [key for key in found if key[:2] == (frame, person)
                 and all(abs(a - b) < 0.02 for a, b in zip(key[2], box, strict=True))]  # fmt: skip
        result[close[0] if close else (frame, person, box)] = actions
    return result


def test_every_writer_is_tried() -> None:
    writers = {
        name for name, value in vars(exports).items()
        if isinstance(value, Callable) and getattr(value, "__module__", "") == "exports"
    }  # fmt: skip
    assert writers - {"by_frame", "_cvat_box"} == set(TOOLS)
