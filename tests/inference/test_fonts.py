"""Names in any script are drawn where a font has their letters, and told where none has."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager

from mestad_d2.errors import UserError
from mestad_d2.inference.results import fonts
from mestad_d2.inference.results.drawing import Annotator, NamedPerson

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(autouse=True)
def default_font():
    """Choices of one test are not seen by the next."""
    yield
    fonts.use_font(None)


def test_letters_that_no_font_has_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed", lambda: ())
    fonts.font_for.cache_clear()
    assert fonts.note_on_letters(["stand up", "сидеть", "müde", "جلس"]) is None
    line = fonts.note_on_letters(["坐", "stand 坐下"])
    assert line.startswith("2 letters") and "坐下" in line and "--font FILE" in line and "\n" not in line


def test_an_installed_font_takes_over_where_the_default_lacks_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # STIX has a letter that DejaVu lacks; it stands for an East Asian font here.
    stix = str(FONTS / "STIXGeneral.ttf")
    letter = chr(min(fonts.letters_of(stix) - fonts.letters_of(fonts.default_font())))
    monkeypatch.setattr(fonts, "_installed", lambda: (stix,))
    fonts.font_for.cache_clear()
    assert (
        fonts.font_for(letter, 20).path == stix and fonts.font_for("stand", 20).path == fonts.default_font()
    )
    assert fonts.note_on_letters([letter]) is None


def test_a_chosen_font_is_used(tmp_path: Path) -> None:
    mono = str(FONTS / "DejaVuSansMono.ttf")
    fonts.use_font(mono)
    assert fonts.font_for("stand", 20).path == mono
    (tmp_path / "x.ttf").write_text("no font")
    for wrong in (tmp_path / "x.ttf", tmp_path / "absent.ttf"):
        with pytest.raises(UserError, match="no font that can be read"):
            fonts.use_font(wrong)


def test_names_of_likely_fonts_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["/f/Latin.ttf", "/f/wqy-zenhei.ttc", "/f/NotoSansCJK-Regular.ttc"]
    monkeypatch.setattr(
        font_manager, "findSystemFonts", lambda fontext="ttf": files if fontext == "ttf" else []
    )
    fonts._installed.cache_clear()
    assert fonts._installed() == ("/f/NotoSansCJK-Regular.ttc", "/f/wqy-zenhei.ttc")
    fonts._installed.cache_clear()


@pytest.mark.parametrize("limit", [None, 0, 1])
def test_only_the_surest_people_have_labels(limit: int | None) -> None:
    people = [
        NamedPerson(np.array([20.0 + 150 * i, 300, 80 + 150 * i, 400]), 0.9 - 0.1 * i, i, [("stand", 0.9)])
        for i in range(4)
    ]
    blank = np.full((480, 640, 3), 200, np.uint8)
    drawn = Annotator(max_labels=limit).draw(blank.copy(), people)
    for place, person in enumerate(people):
        x1, y1, x2, y2 = person.box.astype(int)
        # Every box is drawn; what changed far inside or beside it is a label.
        assert (drawn[(y1 + y2) // 2, x1] != 200).any(), place
    inner = blank.copy()
    for person in people:
        x1, y1, x2, y2 = person.box.astype(int)
        inner[y1 - 4 : y2 + 5, x1 - 4 : x2 + 5] = drawn[y1 - 4 : y2 + 5, x1 - 4 : x2 + 5]
    beside = int((drawn != inner).any(-1).sum())
    assert (beside == 0) == (limit == 0)
    if limit == 1:
        assert beside < int((Annotator().draw(blank.copy(), people) != inner).any(-1).sum()) / 2


def test_the_limit_of_people_is_told_once() -> None:
    from tiny import tiny_cfg

    from mestad_d2.inference.arguments import note_on_limit

    cfg = tiny_cfg("MODEL.PROPOSALS.POST_NMS_TOPK_TEST", 4)
    assert note_on_limit(cfg, [0, 3, 2]) is None
    assert note_on_limit(cfg, [4, 3, 4]) == (
        "4 people, which is the limit, on 2 key frames; there may be more: raise it with --max-people N"
    )
    assert os.linesep not in note_on_limit(cfg, [4])


def test_a_run_that_finds_nobody_says_from_which_score_on() -> None:
    from tiny import tiny_cfg

    from mestad_d2.inference.arguments import note_on_nobody

    cfg = tiny_cfg("MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.4)
    assert note_on_nobody(cfg, [0, 1]) is None and note_on_nobody(cfg, []) is None
    assert note_on_nobody(cfg, [0, 0]) == (
        "nobody was found on 2 key frames; people are taken from MODEL.PROPOSALS.SCORE_THRESH_TEST 0.4 on"
    )
    cfg = tiny_cfg("MODEL.ROI_ACTION_HEAD.TEST_BOXES", "external", "MODEL.PERSON_DETECTOR.NAME", "csv")
    assert "times in the file of boxes" in note_on_nobody(cfg, [0, 0])
