"""Generate the tables of docs/results.md from result files; its text is written by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_text
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.reproduce.report import draw, markdown
from mestad_d2.reproduce.tables import TABLES

_BEGIN, _END = "<!-- table{number} {dataset}: made by tools/reproduce.py -->", "<!-- end -->"
_BLOCK = re.compile(r"<!-- table(\d) (\w+): made by tools/reproduce\.py -->\n.*?<!-- end -->", re.DOTALL)
_HEAD = """# The paper's tables here
Tables below are written by `tools/reproduce.py --document docs/results.md`; sentences between them are not touched.
"""


def block(content: dict, folder: str) -> str:
    """Render the generated part of the page for one result file's ``content``; pictures lie in ``folder``."""
    number, dataset = content["table"], content["dataset"]
    table = TABLES[number]
    text = markdown(table, dataset, content["rows"], content["command"])
    picture = f"![Table {number} on {dataset}]({folder}/table{number}_{dataset}.png)"
    return "\n".join([_BEGIN.format(number=number, dataset=dataset), text, picture, _END])


def renew(page: str, contents: list[dict], folder: str) -> str:
    """Replace each result's block of the page; missing blocks are appended."""
    for content in contents:
        new = block(content, folder)
        own = (str(content["table"]), content["dataset"])
        if any(found.groups() == own for found in _BLOCK.finditer(page)):
            page = _BLOCK.sub(
                lambda found, own=own, new=new: new if found.groups() == own else found[0], page
            )
        else:
            page = f"{page.rstrip()}\n\n{new}\n"
    return page


def document(output: Path, path: Path) -> list[Path]:
    """Take the results of ``output`` into the page at ``path`` and, as json and picture, the folder beside it.

    The folder has the page's name without ending. Returns the result files that were taken.

    Raises:
        UserError: there is no result, or the page is one of the result files.
    """
    files = sorted(output.glob("table?_*.json"))
    if not files:
        raise UserError(f"{output}: no tableN_DATASET.json; run tools/reproduce.py --table N first")
    refuse_overwriting_inputs(files, [path])
    folder = path.with_suffix("")
    contents = []
    for file in files:
        content = json.loads(file.read_text())
        contents.append(content)
        # The page can be generated again from the folder beside it.
        if folder.resolve() != output.resolve():
            refuse_overwriting_inputs(files, [folder / file.name])
            write_text(folder / file.name, file.read_text())
        draw(TABLES[content["table"]], content["dataset"], content["rows"], folder / f"{file.stem}.png")
    write_text(path, renew(path.read_text() if path.is_file() else _HEAD, contents, folder.name))
    return files
