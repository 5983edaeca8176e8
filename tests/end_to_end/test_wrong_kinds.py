"""Arguments of a kind that they cannot be meet an error of ntkplan, no bare one."""

from __future__ import annotations

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import errors

PARAMS = {"w": jnp.ones((3, 4)), "v": jnp.linspace(0.0, 1.0, 8).reshape(4, 2)}
X = np.linspace(-1.0, 1.0, 15, dtype=np.float32).reshape(5, 3)


def model(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def named(value) -> str:
    """Names a case without addresses, which differ from process to process."""
    return re.sub(r" at 0x\w+", "", str(value))


def with_an_if(params, x):
    return model(params, x) if x[0, 0] > 0 else x @ params["w"]  # branch


def refusal(call) -> str:
    with pytest.raises(errors.ArgumentTypeError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((None, PARAMS, X), "f is None; it has to be a function f(params, x)"),
        ((3, PARAMS, X), "f is 3 (int)"),
        ((model, {"a": "abc"}, X), "params['a'] is 'abc' (str)"),
        ((model, PARAMS, "abc"), "x1 is 'abc' (str)"),
        ((model, PARAMS, model), "x1 is a function, model"),
        ((model, PARAMS, X.tolist()), "jnp.asarray(x1)"),
        ((model, PARAMS, X, X.tolist()), "jnp.asarray(x2)"),
        ((model, PARAMS, np.array(["a", "b"])), "x1 is array"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_model_params_and_examples(arguments, says):
    assert says in refusal(lambda: ntkplan.plan(*arguments))


def only_path(path):
    return True


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": 3}, "jax.Device"),
        ({"methods": 3}, "methods is 3 (int); it has to be the name of a method"),
        ({"methods": {3: "ntk_vector_products"}}, "patterns"),
        ({"wrt": 3}, "wrt is 3 (int); it has to be a function of a leaf's path"),
        ({"wrt": "layers"}, "wrt=lambda path, leaf"),
        ({"wrt": only_path}, "too many positional arguments"),
        ({"wrt": lambda path, leaf: None}, "wrt= returns for v is None"),
        ({"wrt": lambda path, leaf: leaf > 0}, "True or False"),
        ({"batch_axis": "a"}, "batch_axis is 'a' (str)"),
        ({"batch_axis": 1.0}, "batch_axis is 1.0 (float)"),
        ({"trace_axes": "a"}, "trace_axes is 'a' (str)"),
        ({"diagonal_axes": (1.0,)}, "diagonal_axes is 1.0 (float)"),
    ],
    ids=named,
)
def test_options(options, says):
    assert says in refusal(lambda: ntkplan.plan(model, PARAMS, X, **options))


def test_device_of_jax_is_the_profile_that_it_gets():
    plan = ntkplan.plan(model, PARAMS, X, device=jax.devices()[0])
    assert plan.device == ntkplan.plan(model, PARAMS, X).device
    assert f'device="{plan.device.name}"' in plan.signature.call


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_samples": "x"}, "n_samples is 'x'"),
        ({"n_samples": 2.5}, "n_samples is 2.5"),
        ({"key": 3}, "jax.random.key(0)"),
        ({"key": jnp.ones(2)}, "one random key"),
        ({"key": jax.random.split(jax.random.key(0))}, "one random key"),
    ],
    ids=named,
)
def test_trace_estimate(options, says):
    options = {"key": jax.random.key(0), **options}
    assert says in refusal(lambda: ntkplan.trace_estimate(model, PARAMS, X, **options))


def test_trace_estimate_takes_keys_of_the_old_kind():
    key = jax.random.PRNGKey(0)
    assert ntkplan.trace_estimate(model, PARAMS, X, key=key, n_samples=2).n_samples == 2


def test_tiles():
    plan = ntkplan.plan(model, PARAMS, X)
    kernel = plan.compile()
    in_tiles = ntkplan.kernel_in_tiles
    said = refusal(lambda: in_tiles(plan, PARAMS, X, tile1=3))
    assert "plan.compile()" in said
    assert "tile1 is '3'" in refusal(lambda: in_tiles(kernel, PARAMS, X, tile1="3"))
    assert "tile2 is 2.5" in refusal(
        lambda: in_tiles(kernel, PARAMS, X, X, tile1=3, tile2=2.5)
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((PARAMS, "abc"), "x1 is 'abc'"),
        ((PARAMS, X.tolist()), "jnp.asarray(x1)"),
        (({**PARAMS, "w": "abc"}, X), "params['w'] is 'abc'"),
    ],
    ids=["text", "list", "leaf"],
)
def test_call_of_a_kernel(arguments, says):
    kernel = ntkplan.plan(model, PARAMS, X).compile()
    assert says in refusal(lambda: kernel(*arguments))


def wide(params, x):
    return model(params, x[..., None])


def returns_text(params, x):
    return "abc"


def line_of(text: str) -> str:
    lines = inspect.getsource(inspect.getmodule(model)).splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.endswith(text)]
    return f"test_wrong_kinds.py:{number}"


@pytest.mark.parametrize(
    ("f", "x", "options", "says"),
    [
        (model, X, {"batch_axis": 1}, r"float32\[5, 1\] \(batch_axis=1\)"),
        (model, X[:, :2], {}, r"x of shape float32\[1, 2\].*dot_general"),
        (model, {"a": X}, {}, r"\['a'\] float32\[1, 3\]"),
        (wide, X, {"batch_axis": None}, r"float32\[5, 3\] \(batch_axis=None\)"),
        (returns_text, X, {}, "str"),
        (with_an_if, X, {}, "jax.lax.cond"),
        (lambda params, x: {}["b"], X, {}, "KeyError: 'b'"),
    ],
)
def test_model_that_cannot_be_traced(f, x, options, says):
    with pytest.raises(errors.TracingError) as caught:
        ntkplan.plan(f, PARAMS, x, **options)
    assert re.search(says, str(caught.value), re.DOTALL), str(caught.value)
    assert caught.value.__cause__ is not None


def test_model_closed_over_what_is_traced():
    """Its text would have to hold a value that there is not yet."""

    @jax.jit
    def outer(scale):
        return ntkplan.plan(lambda params, x: scale * model(params, x), PARAMS, X)

    with pytest.raises(errors.TracedConstantError, match=r"traces itself: float32\[\]"):
        outer(np.float32(2.0))


def test_model_that_cannot_be_traced_is_said_with_its_line():
    with pytest.raises(errors.TracingError) as caught:
        ntkplan.plan(with_an_if, PARAMS, X)
    assert f"at {line_of('# branch')}:" in str(caught.value)


@pytest.fixture(scope="module")
def plan():
    return ntkplan.plan(model, PARAMS, X)


def test_text_and_paths_that_are_none(plan, tmp_path):
    for read in (ntkplan.Plan.from_json, ntkplan.TreePlan.from_json):
        with pytest.raises(errors.UnreadablePlanError, match=r"no text.* int"):
            read(3)
    assert "path is 3" in refusal(lambda: ntkplan.load_export(3))
    assert "path is 3" in refusal(lambda: plan.save(3))
    path = tmp_path / "kernel.py"
    assert "model is 3" in refusal(lambda: plan.save(path, model=3))


def test_folder_that_is_missing(plan, tmp_path):
    file = tmp_path / "a_file"
    file.touch()
    export = plan.export(platforms=("cpu",))
    for save in (plan.save, export.save):
        with pytest.raises(errors.UnwritableFileError) as caught:
            save(tmp_path / "no" / "dir" / "kernel")
        assert f"{tmp_path / 'no'} is a missing folder" in str(caught.value)
        assert f"Make the folder {tmp_path / 'no' / 'dir'} first" in str(caught.value)
        with pytest.raises(errors.UnwritableFileError, match="a_file is no folder"):
            save(file / "kernel")


def test_exported_file_with_a_byte_that_flipped(plan, tmp_path):
    path = plan.export(platforms=("cpu",)).save(tmp_path / "kernel.ntk")
    before = path.read_bytes()
    for place in (40, 60, 2000, len(before) - 40):
        damaged = bytearray(before)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(errors.ExportFileError, match="cannot load"):
            ntkplan.load_export(path)
