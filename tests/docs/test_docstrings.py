"""First lines of public functions' docstrings are imperative sentences."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for folder in ("mestad_d2", "tools", "datasets", "scripts") for path in (ROOT / folder).rglob("*.py")
)
# Words that start a noun phrase; nouns in the plural and "Returns" end in s.
NO_VERB = re.compile(
    r"(The|A|An|Whether|How|What|Which|Where|When|One|Each|Every|All|Both|Those|Some|See|Command|.*[^s]s)$"
)


def first_words(path: Path) -> list[tuple[str, str]]:
    """(name, first word) of every public function and method but properties."""
    found = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in getattr(node, "body", []):
            if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                visit(child, f"{prefix}{child.name}.")
            if (
                not isinstance(child, ast.FunctionDef)
                or child.name.startswith("_")
                and child.name != "__call__"
            ):
                continue
            text = ast.get_docstring(child)
            if text and not any("property" in ast.unparse(d) for d in child.decorator_list):
                found.append((prefix + child.name, text.split()[0].rstrip(",:;.")))

    visit(ast.parse(path.read_text()), "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_first_lines_are_imperative(path: Path) -> None:
    wrong = [
        f"{name}: {word}"
        for name, word in first_words(path)
        if not re.fullmatch(r"[A-Z][a-z]+", word) or NO_VERB.match(word)
    ]
    assert not wrong, f"{path}: write what the function does, as in Return the ..., Read ..."
