"""The source as HTML: the same code, estimates beside it, nothing from elsewhere."""

from __future__ import annotations

import functools
import html
import html.parser
import importlib.util
import re

import pytest

import ntkplan
from ntkplan.errors import UnknownOptionError
from ntkplan.ir.quantities import duration
from tests.end_to_end.saved_problems import heads, problems


class Cells(html.parser.HTMLParser):
    """Reads the cells of a table as text, and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.cells = []
        self.open = []
        self.attributes = []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data


def read(page):
    parser = Cells()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


@functools.cache
def planned():
    f, params, x1, x2, options = problems()["trace"]
    return ntkplan.plan(f, params, x1, x2, **options)


@pytest.mark.parametrize("coloured", [True, False])
def test_the_page_holds_the_code_and_its_estimates(monkeypatch, coloured):
    if not coloured:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    elif importlib.util.find_spec("pygments") is None:
        pytest.skip("pygments is not installed")
    plan = planned()
    page = plan.source(format="html")
    found = read(page)
    margins, code = found.cells[::2], found.cells[1::2]
    assert "\n".join(code) + "\n" == plan.source()
    assert ("<span style" in page) == coloured
    beside = dict(zip(code, margins, strict=True))
    assert beside["def kernel(params, x1, x2=None):"] == duration(plan.cost.seconds)
    titles = [value for name, value in found.attributes if name == "title"]
    for layer in plan.layers:
        line = next(line for line in code if re.search(f"[#,] {layer.path} \\[", line))
        assert re.search(r"flop, .*B [0-9.]+ us$", beside[line])
        assert any(f"{layer.path}: {layer.why}" in title for title in titles)


def test_the_page_loads_nothing():
    page = planned().source(format="html")
    assert not re.search(r"<script|<link|@import|url\(|src=|https?:", page)


def test_notebooks_show_the_source():
    shown = planned()._repr_html_()
    assert html.escape(planned().headline) in shown
    assert read(shown).cells[1::2] == planned().source().splitlines()
    _, params, x, _, _ = problems()["heads"]
    tree = ntkplan.plan(heads, params, x)
    assert read(tree._repr_html_()).cells[1::2] == tree.source().splitlines()


def test_another_format_is_refused():
    with pytest.raises(UnknownOptionError, match="html"):
        planned().source(format="pdf")
