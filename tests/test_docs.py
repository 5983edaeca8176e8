"""The Python in README.md and docs/*.md runs as it stands, top to bottom."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: pathlib.Path) -> list[tuple[int, str]]:
    """Returns the code blocks of a page with the number of lines before each."""
    text = page.read_text(encoding="utf-8")
    return [(text[: m.start(1)].count("\n"), m[1]) for m in FENCE.finditer(text)]


def missing_libraries(code: str) -> list[str]:
    """Returns the imported packages that are not installed."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return sorted(name for name in names if importlib.util.find_spec(name) is None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_the_page_runs(page, tmp_path, monkeypatch):
    """Blocks of a page share their names; line numbers are those of the page."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"docs.{page.stem}"}
    for lines_before, code in blocks(page):
        if not missing_libraries(code):
            padded = "\n" * lines_before + code
            exec(compile(padded, str(page), "exec"), namespace)


def test_code_of_a_page_that_fails_would_be_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text.\n\n```python\nx = 1\n```\n\n```text\nno\n```\n\n```python\ny\n```\n"
    )
    assert blocks(page) == [(3, "x = 1\n"), (11, "y\n")]
    assert missing_libraries("import jax, no_such_library.part") == ["no_such_library"]


def test_models_page_shows_every_library():
    text = "".join(code for _, code in blocks(ROOT / "docs" / "models.md"))
    for library in ("flax.nnx", "flax.linen", "equinox", "haiku"):
        package, _, module = library.partition(".")
        assert f"import {library}" in text or f"from {package} import {module}" in text
