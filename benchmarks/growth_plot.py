"""Draws time and memory against size: needs matplotlib, of the extra `benchmarks`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl  # pyright: ignore[reportMissingImports]: not in every venv
from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

from benchmarks.growth import compiled_bytes, theory_s

_SETTINGS: Any = {"svg.hashsalt": "ntkplan", "svg.fonttype": "none", "font.size": 8}


def draw(results: dict[str, Any], out: Path) -> None:
    """Writes an SVG with one column for each series, time above memory.

    Args:
        results: What `benchmarks.growth` wrote.
        out: The file to write.
    """
    series = results["series"]
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(3.4 * len(series), 5.6), layout="constrained")
        panels = figure.subplots(2, len(series), sharex="col", squeeze=False)
        for column, one in enumerate(series):
            _draw_time(panels[0, column], one, results["peaks"])
            _draw_memory(panels[1, column], one, results["limit_bytes"])
        panels[0, 0].legend()
        panels[1, 0].legend()
        figure.savefig(out, format="svg", metadata={"Date": None})


def _draw_time(axes: Any, series: dict[str, Any], rates: dict[str, float]) -> None:
    rows = series["rows"]
    sizes = [row["size"] for row in rows]
    axes.plot(sizes, [row["median_s"] for row in rows], "o-", label="measured")
    work_s = [theory_s(row, rates) for row in rows]
    axes.plot(sizes, work_s, "k--", label="the plan's work at peak rates")
    axes.set(xscale="log", yscale="log", title=series["name"].replace("_", " "))
    axes.set(ylabel="time, s")


def _draw_memory(axes: Any, series: dict[str, Any], limit_bytes: float) -> None:
    rows = series["rows"]
    sizes = [row["size"] for row in rows]
    for values, style, label in (
        ([row["resident_peak_bytes"] for row in rows], "o-", "resident"),
        ([compiled_bytes(row) for row in rows], "s-", "compiler's"),
        ([row["estimated_peak_bytes"] for row in rows], "k--", "planned"),
        ([row["memory"]["output_bytes"] for row in rows], "k:", "the result alone"),
    ):
        axes.plot(sizes, [value / 1e6 for value in values], style, label=label)
    axes.axhline(limit_bytes / 1e6, color="red", linewidth=0.8, label="limit")
    axes.set(xscale="log", yscale="log", xlabel=series["grows"], ylabel="memory, MB")
