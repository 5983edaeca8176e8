"""Writes kernels.npz beside this file: the float64 kernels of `tests/drop_in_cases.py`.

    python make_drop_in.py

It needs neural-tangents 0.6.5, which runs on no JAX newer than 0.4.38 and is installed
without its dependencies (they are TensorFlow's):

    pip install jax==0.4.38 jaxlib==0.4.38 numpy==1.26.4 scipy==1.13.1 frozendict
    pip install --no-deps neural-tangents==0.6.5

Each array is `<case>/<number of the output>`, or `product/<case>/<number>` for the
kernel-vector product. Of the three implementations those that run must agree to 1e-9;
`failed` lists those that do not run.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
import types
from typing import Any

import jax
import numpy as np

HERE = pathlib.Path(__file__).parent
IMPLEMENTATIONS = (1, 2, 3)


def import_neural_tangents() -> Any:
    """Returns the library, on a JAX that has lost some of the names it looks for."""
    # A part of it that needs TensorFlow.
    sys.modules["neural_tangents.experimental"] = types.ModuleType("experimental")
    autodiff = importlib.import_module("jax.interpreters.ad")
    autodiff.source_info_util = importlib.import_module("jax._src.source_info_util")
    autodiff.config = jax.config
    return importlib.import_module("neural_tangents")


def import_cases() -> Any:
    """Returns `tests/drop_in_cases.py`, without the packages that tests need."""
    spec = importlib.util.spec_from_file_location(
        "drop_in_cases", HERE.parents[2] / "drop_in_cases.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["drop_in_cases"] = module
    spec.loader.exec_module(module)
    return module


def kernels_of(library: Any, case: Any, failed: list[str]) -> list[np.ndarray]:
    """Returns the kernels of one case, on which all implementations agree."""
    results = []
    for implementation in IMPLEMENTATIONS:
        ntk_fn = library.empirical_ntk_fn(
            case.f, *case.axes, case.vmap_axes, implementation=implementation
        )
        try:
            kernel = ntk_fn(case.x1, case.x2, case.params, **case.keywords)
        except Exception as error:
            failed.append(f"{implementation}: {type(error).__name__}: {error}")
            continue
        results.append([np.asarray(leaf) for leaf in jax.tree.leaves(kernel)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert one.shape == two.shape
            assert np.abs(one - two).max() <= 1e-9 * np.abs(one).max()
    return results[0]


def main() -> None:
    """Computes and writes everything."""
    library, cases = import_neural_tangents(), import_cases()
    jax.config.update("jax_enable_x64", True)
    arrays: dict[str, np.ndarray] = {}
    failed: list[str] = []
    for name, stored in cases.CASES.items():
        case, own = cases.as_arrays(stored), []
        for number, kernel in enumerate(kernels_of(library, case, own)):
            arrays[f"{name}/{number}"] = kernel
            print(name, kernel.shape)
        failed += [f"{name}: {reason}" for reason in own]
    for name in cases.PRODUCTS:
        case = cases.as_arrays(cases.CASES[name])
        product = library.empirical_ntk_vp_fn(
            case.f, case.x1, case.x2, case.params, **case.keywords
        )
        vector = jax.tree.map(jax.numpy.asarray, cases.cotangents_of(case))
        for number, leaf in enumerate(jax.tree.leaves(product(vector))):
            arrays[f"product/{name}/{number}"] = np.asarray(leaf)
    np.savez_compressed(HERE / "kernels.npz", failed=np.array(failed), **arrays)
    print(*failed, sep="\n")


if __name__ == "__main__":
    main()
