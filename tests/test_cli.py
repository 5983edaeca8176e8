"""The command line, in process."""

import re
import subprocess
import sys
import textwrap

import pytest

import ntkplan
from ntkplan import cli
from ntkplan.cost.device import load_profile
from ntkplan.demo import job

PROBLEM = """
    import jax
    import jax.numpy as jnp

    def apply(params, x):
        return jnp.tanh(x @ params["hidden"]) @ params["readout"]

    def problem():
        params = {"hidden": jnp.ones((6, 16)), "readout": jnp.ones((16, 3))}
        return apply, params, jax.ShapeDtypeStruct((8, 6), jnp.float32)

    def two_sets():
        return *problem(), jax.ShapeDtypeStruct((5, 6), jnp.float32)

    def mistaken():
        f, params, x = problem()
        return f, {**params, "hidden": jnp.ones((6, 16), int)}, x

    def wide():
        f, params, x = problem()
        return f, params, jax.ShapeDtypeStruct((8, 7), jnp.float32)

    def a_list():
        return *problem()[:2], [[1.0] * 6] * 8

    def a_function():
        return *problem()[:2], problem

    def nothing():
        return None

    def a_pair():
        return 1, 2

    def broken():
        raise ZeroDivisionError("the user's own")

    number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_models").mkdir()
    (tmp_path / "my_models" / "small_net.py").write_text(textwrap.dedent(PROBLEM))
    (tmp_path / "needs_more.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    # A module of one test is not that of the next, which lies in another folder.
    for name in ("my_models", "my_models.small_net", "needs_more"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "reference", ["my_models.small_net:problem", "my_models/small_net.py:problem"]
)
def test_plan_prints_what_the_library_plans(folder, capsys, reference):
    assert cli.main(["plan", reference]) == 0
    printed = capsys.readouterr().out
    expected = ntkplan.plan(*cli.load_problem(reference))
    assert printed.strip() == str(expected).strip()
    assert "hidden" in printed
    assert "readout" in printed


def test_options_reach_the_plan(folder, capsys):
    forced = ["--methods", "hidden=jacobian_contraction,readout=ntk_vector_products"]
    command = ["plan", "my_models.small_net:two_sets", "--kernel", "trace"]
    assert cli.main([*command, *forced, "--memory-limit", "1GiB"]) == 0
    text = capsys.readouterr().out
    expected = ntkplan.plan(
        *cli.load_problem("my_models.small_net:two_sets"),
        kernel="trace",
        memory_limit="1GiB",
        methods={"hidden": "jacobian_contraction", "readout": "ntk_vector_products"},
    )
    assert text.strip() == str(expected).strip()


def test_explain_lists_the_candidates_of_a_leaf(folder, capsys):
    command = ["plan", "my_models.small_net:problem", "--explain"]
    assert cli.main([*command, "hidden"]) == 0
    printed = capsys.readouterr().out
    assert "structured_derivatives" in printed
    assert "jacobian_contraction" in printed
    assert cli.main([*command, "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_emit_writes_the_source_that_the_plan_has(folder, capsys):
    command = ["emit", "my_models.small_net:problem"]
    assert cli.main(command) == 0
    source = capsys.readouterr().out
    assert source.strip() == (
        ntkplan.plan(*cli.load_problem("my_models.small_net:problem")).source().strip()
    )
    for _ in range(2):
        assert cli.main([*command, "-o", "kernel.py"]) == 0
        assert (folder / "kernel.py").read_text().strip() == source.strip()


def test_emit_names_the_folder_that_is_missing(folder, capsys):
    assert cli.main(["emit", "my_models.small_net:problem", "-o", "no/dir/x.py"]) == 2
    said = capsys.readouterr().err
    assert "cannot write no/dir/x.py: no is a missing folder" in said
    assert "Make the folder no/dir first" in said


def test_emit_leaves_the_file_of_somebody_else_alone(folder, capsys):
    path = folder / "my_models" / "small_net.py"
    before = path.read_text()
    assert cli.main(["emit", "my_models.small_net:problem", "-o", str(path)]) == 2
    assert "ntkplan did not write it" in capsys.readouterr().err
    assert path.read_text() == before


def test_devices_lists_every_profile_with_its_origin(capsys):
    assert cli.main(["devices"]) == 0
    printed = capsys.readouterr().out
    profiles = ntkplan.devices()
    assert profiles
    for profile in profiles:
        row = (
            rf"(?m)^ *{profile.name} +{profile.platform} .*{profile.provenance.origin}"
        )
        assert re.search(row, printed)
    used = re.search(r"Plans for this machine use (\S+):", printed)[1]
    noise = load_profile(used).provenance.noise_p90_fraction
    assert ("was shared, noise p90" in printed) == (noise > cli.NOISE_LIMIT_FRACTION)


def test_profile_of_a_busy_machine_is_said_to_be_one():
    said = " ".join(cli.noise_warning(load_profile("x86_64_cpu")).split())
    assert "limit 35%" in said
    assert "`ntkplan calibrate` on a quiet machine replaces them" in said


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("my_models.small_net", "a colon with a name on both sides is missing"),
        ("my_models.small_net:", "a colon with a name on both sides is missing"),
        ("my_models.other:problem", "there is no module my_models.other"),
        ("elsewhere:problem", "there is no module elsewhere"),
        ("my_models/other.py:problem", "there is no file my_models/other.py"),
        ("my_models.small_net:absent", "my_models.small_net has no function absent"),
        ("my_models.small_net:number", "my_models.small_net has no function number"),
        ("my_models.small_net:nothing", "nothing() returned a NoneType"),
        ("my_models.small_net:a_pair", "a_pair() returned a tuple of 2"),
    ],
)
def test_what_names_no_problem_is_said_so(folder, capsys, reference, message):
    assert cli.main(["plan", reference]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        f"ntkplan: '{reference}' gives no problem: {message}"
    )
    assert "Give module:function" in captured.err


def test_mistakes_are_said_without_a_traceback(folder, capsys):
    assert cli.main(["plan", "my_models.small_net:mistaken"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ntkplan: ")
    assert "hidden" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("my_models.small_net:broken", "ZeroDivisionError: the user's own at small_"),
        ("needs_more:problem", "No module named 'a_module_that_nobody_has' at needs_"),
        ("needs_more.py:problem", "No module named 'a_module_that_nobody_has' at n"),
        ("my_models.small_net:apply", "apply has to be called without arguments"),
        ("json:loads", "loads has to be called without arguments"),
        ("my_models.small_net:wide", "small_net.py:6:\n  TypeError: dot_general"),
        ("my_models.small_net:a_list", "x1 is"),
        ("my_models.small_net:a_function", "x1 is a function, problem"),
    ],
)
def test_errors_of_the_users_own_code_are_said_with_their_line(
    folder, capsys, reference, message
):
    assert cli.main(["plan", reference]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ntkplan: ")
    assert message in said
    assert "Traceback" not in said


def test_the_import_path_is_left_as_it_was(folder):
    before = list(sys.path)
    cli.load_problem("my_models.small_net:problem")
    cli.load_problem("my_models/small_net.py:problem")
    assert sys.path == before


def test_methods_are_names_or_globs_but_not_both(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["plan", "my_models.small_net:problem", "--methods", "a,b=c"])
    assert stopped.value.code == 2
    assert "mixes names and GLOB=NAME" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "axis"), [("none", None), ("0", 0), ("-1", -1)])
def test_batch_axis(text, axis):
    parsed = cli.build_parser().parse_args(["plan", "m:f", f"--batch-axis={text}"])
    assert parsed.batch_axis == axis


def test_demo_refuses_a_folder_with_a_file_of_somebody_else(folder, capsys):
    (folder / job.FILE_NAME).write_text("print('mine')\n")
    assert cli.main(["demo", "--quick"]) == 2
    assert f"cannot write {job.FILE_NAME}" in capsys.readouterr().err


def test_the_installed_command_answers():
    code = "import sys; from ntkplan.cli import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"ntkplan \d+\.\d+\.\d+\n", result.stdout)
