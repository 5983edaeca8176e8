"""Draws predicted against measured: needs matplotlib, of the extra `benchmarks`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl  # pyright: ignore[reportMissingImports]: not in every venv
from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

from benchmarks.accuracy_statistics import Point

_MARKERS = "os^vD*PX<>phd"
_SETTINGS: Any = {"svg.hashsalt": "ntkplan", "svg.fonttype": "none", "font.size": 8}


def draw(times: Sequence[Point], memory: Sequence[Point], out: Path) -> None:
    """Writes an SVG with one panel for time and one for memory, logarithmic.

    Args:
        times: Programs, in seconds.
        memory: Programs, in bytes.
        out: The file to write.
    """
    families = list(dict.fromkeys(point.family for point in (*times, *memory)))
    panels = (
        (times, 1e3, "time of a kernel, ms", (0.7, 1.3)),
        (memory, 1e-6, "peak memory, MB", (0.8, 1.3)),
    )
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        for axes, (points, scale, title, band) in zip(
            figure.subplots(1, 2), panels, strict=True
        ):
            _panel(axes, points, scale, title, band, families)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6)
        figure.savefig(out, format="svg", metadata={"Date": None})


def _panel(
    axes: Any,
    points: Sequence[Point],
    scale: float,
    title: str,
    band: tuple[float, float],
    families: Sequence[str],
) -> None:
    for index, family in enumerate(families):
        own = [point for point in points if point.family == family]
        axes.scatter(
            [point.measured * scale for point in own],
            [point.predicted * scale for point in own],
            s=18,
            marker=_MARKERS[index % len(_MARKERS)],
            color=f"C{index % 10}",
            label=family.replace("_", " "),
        )
    axes.set(xscale="log", yscale="log", title=title)
    axes.set(xlabel="measured", ylabel="predicted")
    values = [value for point in points for value in (point.predicted, point.measured)]
    if values:
        ends = [min(values) * scale / 1.3, max(values) * scale * 1.3]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        low, high = ([factor * end for end in ends] for factor in band)
        axes.fill_between(ends, low, high, color="black", alpha=0.08, linewidth=0)
        axes.set(xlim=ends, ylim=ends)
