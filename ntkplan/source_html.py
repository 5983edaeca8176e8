"""The emitted source as HTML: the code, and the estimates in its margin."""

from __future__ import annotations

import html
import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ntkplan.ir.plan import LayerPlan, PlanCost
from ntkplan.ir.quantities import duration

_ESTIMATE = re.compile(
    r"[;:] (?:together )?([^;]*flop, [^;]+), ([0-9.e+-]+ (?:s|ms|us|ns))$"
)
_LEAF = re.compile(r"(?:^|, )(\S+) \[")
_FUNCTION = re.compile(r"def (forward|derivatives|pushed|kernel)\b")

_STYLE = """
.ntkplan { border-collapse: collapse; font: 12px/1.5 ui-monospace, monospace;
  background: #fff; color: #1b1f24; }
.ntkplan td { padding: 0 .8em; white-space: pre; text-align: left; border: 0; }
.ntkplan td.estimate { text-align: right; color: #57606a; background: #f6f8fa;
  border-right: 1px solid #d0d7de; user-select: none; }
.ntkplan td.estimate b { color: #0b4f9e; }
.ntkplan-box { max-height: 42em; overflow: auto; border: 1px solid #d0d7de; }
"""


def source_table(text: str, layers: Sequence[LayerPlan], cost: PlanCost) -> str:
    """Returns the lines of an emitted module as an HTML table.

    Args:
        text: The module's source.
        layers: What was chosen for every leaf, and why.
        cost: What the whole is estimated to cost.

    Returns:
        A table and its style, for a page or a notebook; it loads nothing.
    """
    plain = text.rstrip("\n").split("\n")
    margins = _margins(plain, layers, cost)
    rows = [
        f'<tr><td class="estimate">{margins.get(number, "")}</td><td>{code}</td></tr>'
        for number, code in enumerate(_coloured(text, len(plain)))
    ]
    return f'<style>{_STYLE}</style><table class="ntkplan">{"".join(rows)}</table>'


def source_page(
    text: str, layers: Sequence[LayerPlan], cost: PlanCost, title: str
) -> str:
    """Returns a page of its own with the source and its estimates.

    Args:
        text: The module's source.
        layers: What was chosen for every leaf, and why.
        cost: What the whole is estimated to cost.
        title: What the page is called.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title></head><body>\n"
        f"{source_table(text, layers, cost)}\n</body></html>\n"
    )


def notebook_html(
    text: str, layers: Sequence[LayerPlan], cost: PlanCost, title: str
) -> str:
    """Returns what a notebook shows of a plan: its title, and the source in a box."""
    return (
        f"<p>{html.escape(title)}</p>"
        f'<div class="ntkplan-box">{source_table(text, layers, cost)}</div>'
    )


def _coloured(text: str, n_lines: int) -> list[str]:
    """Returns the lines as HTML, with colours where pygments is installed."""
    if importlib.util.find_spec("pygments") is None:
        return html.escape(text.rstrip("\n")).split("\n")
    pygments: Any = importlib.import_module("pygments")
    formatters: Any = importlib.import_module("pygments.formatters")
    lexers: Any = importlib.import_module("pygments.lexers")
    formatter = formatters.HtmlFormatter(nowrap=True, noclasses=True)
    lexer = lexers.PythonLexer(stripnl=False)
    return pygments.highlight(text, lexer, formatter).split("\n")[:n_lines]


def _margins(
    lines: Sequence[str], layers: Sequence[LayerPlan], cost: PlanCost
) -> dict[int, str]:
    """Returns what stands beside lines: the estimates of functions and of blocks."""
    seconds = {
        "forward": cost.forward_seconds,
        "derivatives": cost.sweep_seconds,
        "pushed": cost.push_seconds,
        "kernel": cost.seconds,
    }
    why = {layer.path.removesuffix("/value"): layer.why for layer in layers}
    why |= {layer.path or "params": layer.why for layer in layers}
    found: dict[int, str] = {}
    for number, line in enumerate(lines):
        function = _FUNCTION.match(line)
        if function:
            found[number] = f"<b>{duration(seconds[function[1]])}</b>"
    for number, comment in _comments(lines):
        estimate = _ESTIMATE.search(comment)
        if estimate:
            found[number] = _block(comment, estimate[1], estimate[2], why)
    return found


def _block(comment: str, work: str, time: str, why: Mapping[str, str]) -> str:
    paths = [path for path in _LEAF.findall(comment) if path in why]
    reasons = "; ".join(f"{path}: {why[path]}" for path in paths)
    told = f' title="{html.escape(reasons)}"' if reasons else ""
    return f"<span{told}>{html.escape(work)} <b>{html.escape(time)}</b></span>"


def _comments(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Returns every comment, unfolded, with the number of its first line.

    A comment ends where it tells a time, or where no comment follows.
    """
    found: list[tuple[int, str]] = []
    held, start = "", 0
    for number, line in enumerate([*lines, ""]):
        text = line.strip()
        if held and (not text.startswith("# ") or _ESTIMATE.search(held)):
            found.append((start, held))
            held = ""
        if text.startswith("# "):
            start = start if held else number
            held = f"{held} {text[2:]}".strip()
    return found
