"""Draws times beside the peer's: needs matplotlib, of the extra `benchmarks`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl  # pyright: ignore[reportMissingImports]: not in every venv
from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

from benchmarks.peer.contest import OURS, PEERS, Row
from benchmarks.peer.report import best_peer, limit_s

_SETTINGS: Any = {"svg.hashsalt": "ntkplan", "svg.fonttype": "none", "font.size": 8}
_KERNELS = ("full", "trace")


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Writes an SVG: for every case our time, the peer's three and the limit.

    Args:
        results: What `benchmarks.peer` wrote.
        out: The file to write.
    """
    rows = [row for row in results["cases"] if best_peer(row)]
    names = list(dict.fromkeys(row["name"] for row in rows))
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(10, 0.32 * len(names) + 1.2), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, kernel in zip(panels, _KERNELS, strict=True):
            own = [row for row in rows if row["kernel"] == kernel and not row["n2"]]
            _draw_kernel(axes, own, names, results["peaks"])
            axes.set(xscale="log", xlabel="time, ms", title=f"{kernel} kernel of x1")
            axes.grid(axis="x", linewidth=0.3)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        figure.savefig(out, format="svg", metadata={"Date": None})


def _draw_kernel(
    axes: Any, rows: list[Row], names: list[str], peaks: Mapping[str, float]
) -> None:
    for index, name in enumerate((*PEERS, OURS)):
        timed = [row for row in rows if "median_s" in row["sides"][name]]
        axes.plot(
            [row["sides"][name]["median_s"] * 1e3 for row in timed],
            [names.index(row["name"]) for row in timed],
            "D" if name == OURS else "|",
            color="black" if name == OURS else f"C{index}",
            markersize=5 if name == OURS else 9,
            markeredgewidth=1.0 if name == OURS else 2.0,
            label=name if name == OURS else f"peer: {name.replace('_', ' ')}",
        )
    axes.plot(
        [limit_s(row, peaks) * 1e3 for row in rows],
        [names.index(row["name"]) for row in rows],
        "k<",
        markersize=3,
        label="limit of the machine",
    )
