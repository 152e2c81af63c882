"""Fonts of labels: one for each script that names are written in, and which letters none of them has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from mestad_d2.errors import UserError

# Parts of the names of font files that have Chinese, Japanese or Korean letters, the most common ones first.
EAST_ASIAN = (
    "notosanscjk", "notosanssc", "notosansjp", "notosanskr", "sourcehansans", "wqy", "droidsansfallback", "ipag", "takao",
    "nanum", "unifont", "msyh", "simhei", "msgothic", "malgun", "pingfang", "hiragino", "applegothic", "arialunicode",
)  # fmt: skip
_chosen: list[str] = []


@lru_cache(maxsize=1)
def default_font() -> str:
    """Return the path of the font that matplotlib brings."""
    # Imported at first use: a detector starts without it.
    import matplotlib

    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def use_font(path: str | os.PathLike[str] | None) -> None:
    """Draw labels with a font file; None: the default, and an installed one where it lacks letters.

    Raises:
        UserError: no font that can be read.
    """
    if path is not None:
        try:
            ImageFont.truetype(os.fspath(path), 12)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: no font that can be read ({error}); give a .ttf, .otf or .ttc file"
            ) from error
    _chosen[:] = [] if path is None else [os.fspath(path)]
    font_for.cache_clear()


@lru_cache(maxsize=64)
def letters_of(path: str) -> frozenset[int]:
    """Return the code points of a font file; none where it can't be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """Installed font files that may have East Asian letters, likely ones first."""
    from matplotlib import font_manager

    files = [*font_manager.findSystemFonts(), *font_manager.findSystemFonts(fontext="afm")]
    named = {path: "".join(c for c in Path(path).name.lower() if c.isalnum()) for path in files}
    likely = [p for part in EAST_ASIAN for p in sorted(named) if part in named[p]]
    return tuple(dict.fromkeys(likely))


def missing_letters(texts: Iterable[str], path: str) -> str:
    """Return the letters of ``texts`` that a font lacks, in order, each once."""
    letters = dict.fromkeys(letter for text in texts for letter in text if not letter.isspace())
    have = letters_of(path)
    return "".join(letter for letter in letters if ord(letter) not in have)


@lru_cache(maxsize=4096)
def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return the font, ``size`` pixels high, with most letters of a text: the user's, the default or an installed one."""
    paths = [*_chosen, default_font()]
    best = min(paths, key=lambda path: len(missing_letters([text], path)))
    if missing_letters([text], best):
        best = min([best, *_installed()], key=lambda path: len(missing_letters([text], path)))
    return ImageFont.truetype(best, size)


def undrawable(names: Iterable[str]) -> str:
    """Return the letters of names that every available font lacks."""
    lost: dict[str, None] = {}
    for name in names:
        lost.update(dict.fromkeys(missing_letters([name], font_for(name, 12).path)))
    return "".join(lost)


def note_on_letters(names: Iterable[str]) -> str | None:
    """Return a note on letters of action names that can't be drawn; None where all can."""
    lost = undrawable(names)
    if not lost:
        return None
    some = lost[:20] + (" ..." if len(lost) > 20 else "")
    return (
        f"{len(lost)} letters of the action names can't be drawn ({some}), as no installed font has them; give a font "
        "that has them with --font FILE"
    )
