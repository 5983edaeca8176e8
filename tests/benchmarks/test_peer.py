"""The comparison with neural-tangents: what its tables and answers say of its file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peer import markdown, report
from benchmarks.peer.configurations import CASES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PEAKS = {"flops_per_s": 1e11, "bytes_per_s": 1e10}


def side(median_s, ready_s, temp_bytes):
    return {
        "median_s": median_s,
        "ready_s": ready_s,
        "memory": {"temp_bytes": temp_bytes, "output_bytes": 100},
        "difference_fraction": 1e-7,
    }


def row(ours, best, *, kernel="full", family="tokens", name="one"):
    """A case in which structured derivatives failed and products are the best."""
    return {
        "name": name,
        "family": family,
        "kernel": kernel,
        "n1": 8,
        "n2": None,
        "sides": {
            "ntkplan": side(ours, 2.0, 900),
            "jacobian_contraction": side(4 * best, 1.0, 100),
            "ntk_vector_products": side(best, 4.0, 1900),
            "structured_derivatives": {"error": "needs 3 GiB of temporaries"},
            "auto": {"ready_s": 10.0},
        },
        "least_work": {"flops": 1e8, "bytes": 1e6},
    }


def test_ratios_are_over_the_best_of_the_peer():
    one = row(2e-3, 10e-3)
    assert report.best_peer(one) == "ntk_vector_products"
    assert report.ratio(one, "median_s") == pytest.approx(5.0)
    assert report.ratio(one, "ready_s") == pytest.approx(2.0)
    assert report.ratio(one, "ready_s", "auto") == pytest.approx(5.0)
    assert report.ratio(one, "median_s", "structured_derivatives") is None
    assert report.memory_ratio(one) == pytest.approx(0.5)
    assert report.over_limit(one, PEAKS) == pytest.approx(2.0)


def test_answers_follow_the_figures():
    quick = [row(1e-3, 10e-3), row(1e-3, 10e-3, kernel="trace")]
    slow = [*quick, row(1e-2, 9e-3, name="lost")]

    def answer(rows, question):
        found = [c for c in report.checks(rows, PEAKS) if question in c.question]
        return found[0].passed

    assert answer(quick, "full kernels") and answer(quick, "trace kernels")
    assert answer(quick, "no case slower") and not answer(slow, "no case slower")
    assert answer(quick, "memory never over")
    assert not answer(slow, "recurrent and token")
    assert answer(quick, "over its structured derivatives") is None


def test_the_report_names_failures():
    facts = {
        "processor": "a CPU",
        "cores": 2,
        "versions": {"jax": "0.10.2"},
        "git_commit": "0" * 40,
        "git_dirty": False,
        "date": "2026-01-01",
    }
    results = {
        "environment": facts,
        "peer_versions": {"neural-tangents": "0.6.5", "jax": "0.4.38"},
        "peaks": PEAKS,
        "cases": [row(1e-3, 10e-3), row(1e-3, 10e-3, kernel="trace")],
    }
    text = report.report(results)
    assert "structured_derivatives: needs 3 GiB of temporaries" in text
    assert "`one`" in markdown.summary_table(results)


def test_a_table_stands_between_its_marks():
    text = "a\n<!-- here -->\nold\n<!-- end -->\nb\n"
    assert markdown.written(text, "here", "new") == (
        "a\n<!-- here -->\n\nnew\n\n<!-- end -->\nb\n"
    )
    with pytest.raises(ValueError, match="there"):
        markdown.written(text, "there", "new")


@pytest.mark.parametrize("table", markdown.TABLES, ids=lambda table: table.mark)
def test_documents_have_the_tables_of_the_results(table):
    """Every figure in README's table comes from the file."""
    text = (ROOT / table.document).read_text(encoding="utf-8")
    results = json.loads((RESULTS / f"{table.results}.json").read_text("utf-8"))
    assert markdown.written(text, table.mark, table.make(results)) == text


def test_the_peer_reads_configurations_without_ntkplan():
    """Its JAX is one that ntkplan does not run on."""
    code = (
        "import sys; import benchmarks.peer.configurations, benchmarks.peer.prepared; "
        "import benchmarks.measure, benchmarks.process_memory; "
        "sys.exit(any(name.split('.')[0] == 'ntkplan' for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_cases_have_names_of_their_own():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert {case.kernel for case in CASES} == {"full", "trace"}
