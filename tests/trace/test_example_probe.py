"""The numerical test: it finds what interacts, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np

from ntkplan.trace.examples import probe_independence
from tests.trace.batches import TABLE, TOKENS, X, normal


def probe(function, *data, batch_axis=0):
    return probe_independence(
        function, data, batch_axis, data_inputs=tuple(range(len(data)))
    )


def test_probe_takes_one_example():
    assert probe(jnp.sin, X[:1])
    assert not probe(lambda x: x - x.mean(0), X[:1])


def test_probe_finds_a_rare_interaction():
    assert not probe(lambda x: x + 0.01 * jnp.max(x, 0), X)
    assert not probe(lambda x: jnp.where(jnp.max(x) > 3.0, x, 2 * x), X)


def test_probe_allows_for_nan():
    with_nan = X.copy()
    with_nan[1, 2] = np.nan
    assert probe(jnp.sqrt, with_nan)
    assert not probe(lambda x: x[:, 2:3] + x[:, 2:3].sum(0), with_nan)


def test_probe_finds_the_size_of_the_batch():
    assert not probe(lambda x: x / len(x), X)


def test_probe_of_whole_numbers_and_keys():
    keys = jax.random.split(jax.random.key(0), 5)
    assert probe(lambda t: jax.nn.one_hot(t, 7) @ TABLE, TOKENS)
    assert not probe(lambda t: t - t.sum(0), TOKENS)
    assert probe(jax.vmap(lambda key: jax.random.normal(key, (2,))), keys)


def test_probe_tells_rounding_from_interaction():
    wide = normal(200, 300)
    assert probe(lambda x: jnp.tanh(x @ wide) @ wide.T, normal(6, 200))
    assert not probe(lambda x: x + 1e-3 * x.mean(0), normal(6, 200))


def test_probe_needs_an_example_axis():
    assert not probe(lambda x: x.sum(), X)
    assert probe(lambda x: jnp.ones(3), X)
