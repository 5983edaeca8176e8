"""What can be exported, what is fixed, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import re
import zipfile

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import ntkplan
from ntkplan import errors
from ntkplan.planner import cuts, tiling
from tests.oracles import dense_kernel, relative_error

TOLERANCE = 1e-4
PARAMS = {
    "w": np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32),
    "v": np.random.default_rng(2).normal(size=(5, 2)).astype(np.float32),
}
X = np.random.default_rng(3).normal(size=(8, 3)).astype(np.float32)


def model(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


@pytest.fixture(scope="module")
def exported():
    return ntkplan.plan(model, PARAMS, X).export()


@pytest.fixture
def saved(exported, tmp_path):
    return exported.save(tmp_path / "kernel.ntk")


def error_of(kernel, x1, x2=None, f=model, **options):
    wanted = dense_kernel(f, PARAMS, x1, x2, **options)
    return relative_error(kernel(PARAMS, x1, x2), wanted)


def rewritten(path, change):
    """Changes the header of a file."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(contents["header.json"])
    change(header)
    contents["header.json"] = json.dumps(header).encode()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    path.write_bytes(written.getvalue())


def test_a_file_holds_all_that_was_exported(exported, saved):
    loaded = ntkplan.load_export(saved)
    assert loaded.platforms == ("cpu", "cuda", "tpu")
    assert str(loaded) == str(exported)
    assert loaded.serialize() == saved.read_bytes()
    assert error_of(loaded, X[:5], X[5:]) < TOLERANCE
    assert error_of(jax.jit(loaded), X) < TOLERANCE


def test_products_are_exact_on_every_platform_though_planned_for_a_cpu(exported):
    for program in (exported.alone, exported.pair):
        text = jax.export.deserialize(bytearray(program.serialized)).mlir_module()
        count = text.count("stablehlo.dot_general")
        assert count > 3
        assert text.count("precision = [HIGHEST, HIGHEST]") == count


def test_a_precision_that_was_asked_for_is_exported():
    plan = ntkplan.plan(model, PARAMS, X, precision="high")
    text = plan.export("tpu").pair.serialized
    module = jax.export.deserialize(bytearray(text)).mlir_module()
    assert set(re.findall(r"precision = \[(\w+),", module)) == {"HIGH"}


def test_matched_pairs_share_one_number():
    kernel = ntkplan.plan(model, PARAMS, X, pairs="matched").export("cpu")
    assert "x1 and x2: n1 free" in str(kernel)
    assert error_of(kernel, X[:4], X[4:], pairs="matched") < TOLERANCE
    with pytest.raises(errors.MismatchedInputsError, match="matched"):
        kernel(PARAMS, X[:4], X[:3])


def test_a_kernel_in_tiles_takes_no_fewer_examples_than_a_tile():
    options = {"methods": "jacobian_contraction"}
    limit = 1.3 * ntkplan.plan(model, PARAMS, X[:6], **options).cost.peak_bytes
    plan = ntkplan.plan(model, PARAMS, X, **options, memory_limit=limit)
    rows = int(re.findall(r"in tiles of (\d+) x", str(plan))[0])
    assert rows > 1
    kernel = plan.export("cpu")
    assert f"n1 free from {rows} on: tiles" in str(kernel)
    assert error_of(kernel, X[: rows + 1], X[:rows]) < TOLERANCE
    with pytest.raises(errors.MismatchedInputsError, match=f"at least {rows}"):
        kernel(PARAMS, X[: rows - 1])


def test_a_halved_kernel_has_a_fixed_number_where_it_is_halved(monkeypatch):
    def halved(problem, decision, limit_bytes):
        blocks = 2 if problem.symmetric else 1
        return dataclasses.replace(decision, lower_blocks=blocks)

    monkeypatch.setattr(tiling, "halved", halved)
    kernel = ntkplan.plan(model, PARAMS, X[:6]).export("cpu")
    assert "x1 alone: n1=6 alone: the code" in str(kernel)
    assert "x1 and x2: n1 and n2 free" in str(kernel)
    assert error_of(kernel, X[:6]) < TOLERANCE
    assert error_of(kernel, X[:5], X[5:]) < TOLERANCE
    with pytest.raises(errors.MismatchedInputsError, match="x1: got 5, wanted 6"):
        kernel(PARAMS, X[:5])


def test_the_kernel_of_a_whole_batch_is_for_that_batch():
    def centred(params, x):
        y = model(params, x)
        return y - y.mean(0)

    kernel = ntkplan.plan(centred, PARAMS, X, batch_axis=None).export("cpu")
    assert "x1 alone: the whole batch" in str(kernel)
    got = kernel(PARAMS, X)
    wanted = dense_kernel(centred, PARAMS, X)
    assert relative_error(got, wanted) < TOLERANCE
    with pytest.raises(errors.MismatchedInputsError, match=r"float32\[8, 3\]"):
        kernel(PARAMS, X[:5])


def test_a_kernel_that_is_cut(monkeypatch):
    monkeypatch.setattr(cuts, "NEEDED_GAIN", 0.0)

    def wide(params, x):
        return jnp.tanh(x @ params["w"] @ params["v"]) @ jnp.ones((2, 40))

    plan = ntkplan.plan(wide, PARAMS, X)
    assert "cut at" in str(plan)
    kernel = plan.export()
    assert "x1 and x2: n1 and n2 free" in str(kernel)
    assert error_of(kernel, X[:5], X[5:], wide) < TOLERANCE


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Weights:
    w: object
    v: object


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Outputs:
    logits: object
    hidden: object


def test_trees_of_types_that_others_do_not_know(tmp_path):
    def f(weights, x):
        hidden = jnp.tanh(x @ weights.w)
        return Outputs(hidden @ weights.v, hidden)

    weights = Weights(**PARAMS)
    plan = ntkplan.plan(f, weights, X)
    kernel = ntkplan.load_export(plan.export("cpu").save(tmp_path / "kernel.ntk"))
    assert "returns a dictionary by output: logits, hidden" in str(kernel)
    wanted = dense_kernel(model, PARAMS, X)
    for params in (weights, [PARAMS["w"], PARAMS["v"]]):
        found = kernel(params, X)
        assert list(found) == ["logits", "hidden"]
        assert relative_error(found["logits"], wanted) < TOLERANCE
    with pytest.raises(errors.MismatchedInputsError, match=r"params\.w"):
        kernel(PARAMS, X)


def test_an_input_of_another_shape_is_refused(exported):
    with pytest.raises(errors.MismatchedInputsError, match=r"float32\[n, 3\]"):
        exported(PARAMS, X[:, :2])
    with pytest.raises(errors.MismatchedInputsError, match=r"params\['w'\]"):
        exported({**PARAMS, "w": PARAMS["w"].astype(np.float16)}, X)


def test_callbacks_are_refused_with_the_list():
    def doubled(x):
        return np.asarray(x) * 2

    def f(params, x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        y = jax.pure_callback(doubled, shape, x, vmap_method="expand_dims")
        return model(params, y)

    with pytest.warns(errors.NtkPlanWarning):
        plan = ntkplan.plan(f, PARAMS, X)
    for platforms in ("cpu", ("cpu", "tpu")):
        with pytest.raises(errors.ExportError, match="call_pure_callback: ") as caught:
            plan.export(platforms)
        assert len(caught.value.parts) == 1


def test_platforms_are_checked(exported):
    plan = ntkplan.plan(model, PARAMS, X)
    with pytest.raises(errors.UnknownOptionError, match="rocm"):
        plan.export(("cpu", "abacus"))
    with pytest.raises(errors.ConflictingOptionsError, match="empty"):
        plan.export(())
    with pytest.raises(errors.ExportPlatformError, match=r"for tpu.* on cpu"):
        plan.export("tpu")(PARAMS, X)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schema": 99}, "schema is 99(.|\n)*Upgrade ntkplan"),
        ({"schema": 0}, "schema is 0(.|\n)*Export the plan again"),
        ({"format": "other"}, "no exported kernel"),
    ],
)
def test_files_of_other_schemas_are_refused(change, match, saved):
    rewritten(saved, lambda header: header.update(change))
    with pytest.raises(errors.ExportFileError, match=match):
        ntkplan.load_export(saved)


def test_foreign_and_damaged_files_are_refused(saved, tmp_path):
    with pytest.raises(errors.ExportFileError, match="no such file"):
        ntkplan.load_export(tmp_path / "missing.ntk")
    (tmp_path / "text.ntk").write_text("kernel")
    with pytest.raises(errors.ExportFileError, match="no exported kernel"):
        ntkplan.load_export(tmp_path / "text.ntk")
    whole = saved.read_bytes()
    saved.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(errors.ExportFileError, match="damaged"):
        ntkplan.load_export(saved)


def test_a_program_that_jax_cannot_read_is_refused(exported, tmp_path):
    alone = dataclasses.replace(exported.alone, serialized=b"\x08" * 64)
    path = dataclasses.replace(exported, alone=alone).save(tmp_path / "kernel.ntk")
    with pytest.raises(errors.ExportFileError, match=r"cannot read what JAX [\d.]+"):
        ntkplan.load_export(path)


def test_the_extra_is_named_where_it_is_missing(saved, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    match = r"needs flatbuffers(.|\n)*pip install flatbuffers(.|\n)*'\.\[export\]'"
    with pytest.raises(errors.MissingExtraError, match=match):
        ntkplan.load_export(saved)
    with pytest.raises(errors.MissingExtraError, match=match):
        ntkplan.plan(model, PARAMS, X).export()
