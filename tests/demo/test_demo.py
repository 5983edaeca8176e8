"""The demo, whole and in pieces."""

import importlib.resources
import os
import pathlib
import re
import sys

import jax
import numpy as np
import pytest

from ntkplan.demo import (
    generated_file,
    job,
    measure,
    model,
    plain,
    regression,
    resident,
)
from ntkplan.demo.digits import load_digits
from ntkplan.errors import SingularKernelError, UnwritableFileError

pytestmark = pytest.mark.optimised


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """The quick demo, run twice in one folder: outcomes, text and file of both."""
    folder = tmp_path_factory.mktemp("demo")
    files, outcomes = [], []
    for _ in range(2):
        outcomes.append(job.run(folder, quick=True))
        files.append((folder / job.FILE_NAME).read_text())
    return outcomes, files, folder


def test_quick_demo_classifies_digits(quick_run):
    outcomes, _, _ = quick_run
    assert outcomes[0].accuracy >= 0.9
    assert outcomes[0].plain.difference < 1e-4


def test_running_twice_gives_the_same_file_and_accuracy(quick_run):
    outcomes, files, _ = quick_run
    assert files[0] == files[1]
    assert outcomes[0].accuracy == outcomes[1].accuracy


def test_the_file_is_the_kernel_that_ran(quick_run):
    outcomes, _, folder = quick_run
    kernel = generated_file.import_kernel(folder / job.FILE_NAME)
    train, test = load_digits(job.QUICK.n_train, job.QUICK.n_test)
    n = job.QUICK.tile
    block = kernel(model.init_params(), test.images[:n], train.images[:n])
    np.testing.assert_array_equal(block, outcomes[0].kernel.test[:n, :n])


def test_the_training_kernel_is_symmetric_and_positive(quick_run):
    theta = quick_run[0][0].kernel.train.astype(np.float64)
    np.testing.assert_array_equal(theta, theta.T)
    eigenvalues = np.linalg.eigvalsh(theta)
    assert eigenvalues[0] > -1e-6 * eigenvalues[-1]


@pytest.mark.slow
def test_full_demo_reaches_the_accuracy_it_is_held_to(tmp_path):
    outcome = job.run(tmp_path)
    assert len(outcome.kernel.train) == 1000
    assert outcome.accuracy >= 0.93


def test_report_puts_measurements_beside_estimates(quick_run):
    outcome = quick_run[0][0]
    text = job.report(outcome)
    assert f"{outcome.accuracy:.1%}" in text
    assert re.search(r"Time +[\d.]+ s for \d+ tiles; estimated [\d.]+ s", text)
    assert re.search(r"Memory +\d+ MiB resident .* estimated \d+ MiB", text)
    assert re.search(r"Plain JAX +\d+ s, extrapolated from [\d.]+ s", text)


def test_digits_are_all_there_and_split_without_overlap():
    train, test = load_digits(1000, 797)
    images = np.concatenate([train.images, test.images])
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 1)
    # The counts that the UCI repository gives for the test set of the collection.
    counts = np.bincount(np.concatenate([train.labels, test.labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(train.centred_one_hot().sum(axis=1)).max() < 1e-12


def test_more_digits_than_there_are():
    with pytest.raises(ValueError, match=r"1000 \+ 798 of 1797 images"):
        load_digits(1000, 798)


def test_data_come_with_source_and_licence():
    data = importlib.resources.files("ntkplan.demo") / "data"
    text = (data / "digits.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text
    assert "UCI Machine Learning Repository" in text
    assert len((data / "digits.npz").read_bytes()) < 200_000


def test_plain_contraction_is_the_trace_kernel():
    params = model.init_params()
    train, test = load_digits(3, 2)

    def dense(images):
        jacobian = jax.jit(jax.jacrev(model.apply))(params, images)
        leaves = [
            leaf.reshape(len(images), 10, -1) for leaf in jax.tree.leaves(jacobian)
        ]
        return np.concatenate(leaves, axis=-1).astype(np.float64)

    expected = np.einsum("nop,mop->nm", dense(test.images), dense(train.images)) / 10
    kernel = plain.jacobian_contraction(model.apply, params, test.images, train.images)
    assert kernel.shape == (2, 3)
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)


def test_regression_solves_the_ridge_system():
    features = np.random.default_rng(0).normal(size=(6, 9))
    kernel, targets = features @ features.T, features[:, :2]
    weights = regression.fit(kernel.astype(np.float32), targets, ridge=0.1)
    ridge = 0.1 * np.mean(np.diag(kernel))
    residual = (kernel + ridge * np.eye(6)) @ weights - targets
    assert weights.dtype == np.float64
    assert np.abs(residual).max() < 1e-5
    assert (
        regression.accuracy(np.array([[0, 2, 1], [3, 1, 2]]), np.array([1, 2])) == 0.5
    )


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "the kernel is not positive definite"),
        ([[1.0, np.nan], [np.nan, 1.0]], "the kernel holds NaN or infinity"),
    ],
)
def test_regression_refuses_what_has_no_solution(kernel, reason):
    with pytest.raises(
        SingularKernelError, match=f"2 examples with ridge 1e-06: {reason}"
    ):
        regression.fit(np.array(kernel), np.eye(2), ridge=1e-6)


def refuse_work(*arguments, **options):
    raise AssertionError("work began before the folder was looked at")


def missing_folder(tmp_path):
    return tmp_path / "missing"


def not_a_folder(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path / "file"


def folder_with_a_folder_of_that_name(tmp_path):
    (tmp_path / job.FILE_NAME).mkdir()
    return tmp_path


def read_only_folder(tmp_path):
    if os.name != "posix":
        pytest.skip("folders are made read-only in another way here")
    if os.geteuid() == 0:
        # Nothing stops the superuser but a file system that takes no files.
        return pathlib.Path("/proc/self") if sys.platform == "linux" else pytest.skip()
    tmp_path.chmod(0o555)
    return tmp_path


@pytest.mark.parametrize(
    "make_folder",
    [
        missing_folder,
        not_a_folder,
        folder_with_a_folder_of_that_name,
        read_only_folder,
    ],
)
def test_unwritable_folder_is_refused_before_any_work(
    tmp_path, monkeypatch, make_folder
):
    folder = make_folder(tmp_path)
    monkeypatch.setattr(job, "load_digits", refuse_work)
    with pytest.raises(UnwritableFileError, match=f"cannot write {folder}") as caught:
        job.run(folder)
    assert "write to another" in str(caught.value).lower()


def test_a_file_of_somebody_else_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / job.FILE_NAME
    path.write_text("# my own notes\n")
    monkeypatch.setattr(job, "load_digits", refuse_work)
    with pytest.raises(UnwritableFileError, match="ntkplan did not write it"):
        job.run(tmp_path)
    assert path.read_text() == "# my own notes\n"


def test_checking_leaves_nothing_behind(tmp_path):
    generated_file.check_writable(tmp_path / job.FILE_NAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not resident.CLEAR_PEAK.exists(), reason="needs Linux")
def test_peak_memory_sees_an_array_and_forgets_it():
    before = resident.peak_resident_bytes()
    array = np.ones(2**25)
    during = resident.peak_resident_bytes()
    assert during >= before + 0.9 * array.nbytes or during >= array.nbytes
    del array
    resident.forget_peak()
    assert resident.peak_resident_bytes() < during


def test_plain_run_extrapolates_by_tiles():
    run = measure.PlainRun(examples=50, tile_s=0.5, tiles=7, difference=0.0)
    assert run.extrapolated_s == 3.5
    assert measure.tiles_of_both(1000, 797, 200) == 35
