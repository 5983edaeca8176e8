"""Tables of shapes: what is printed is the tree, and what repeats is written once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from ntkplan.emit.shape_table import Table, shape_table, short_text
from ntkplan.emit.table_text import table_lines


def spec(*shape, dtype="float32"):
    return jax.ShapeDtypeStruct(shape, dtype)


def block():
    dense = {"b": spec(768), "w": spec(768, 3072)}
    return {"fc": dense, "norm": {"bias": spec(768), "scale": spec(768)}, "proj": dense}


TREES = {
    "one_array": spec(5, 7),
    "layers": {"layers": [{"b": spec(7), "w": spec(5, 7)}, {"b": spec(3)}]},
    "blocks": {"blocks": [block() for _ in range(12)], "wte": spec(50257, 768)},
    "numbered": {**{f"h_{i}": block() for i in range(11)}, "h_11": {"w": spec(3)}},
    "counted": {"blocks": {i: block() for i in range(12)}, "w": {2: spec(1)}},
    "counted_alone": {i: {"w": spec(5, 7)} for i in range(3)},
    "gaps": [(spec(3), spec(4)), (), (spec(3), spec(4)), (), (spec(1), spec(1))],
    "names": {'a "quoted" key': spec(1), "{0}": spec(1), "{1}": spec(1)},
    "deep": {
        "statistics_of_it": {
            "batch_norm_with_a_name": {"mean": spec(4), "var": spec(4)}
        },
        "params": {"dense": {"bias": spec(2), "kernel": spec(4, 2)}},
    },
    "dtypes": {"step": spec(dtype="int32"), "w": spec(2, dtype="bfloat16")},
}


@pytest.mark.parametrize("name", TREES)
def test_the_printed_table_is_the_tree(name):
    tree = TREES[name]
    namespace = {}
    lines = table_lines(shape_table(tree), "PARAMS")
    exec("\n".join(lines), namespace)
    wanted = [
        (jax.tree_util.keystr(keys), f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]")
        for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    got = [
        (jax.tree_util.keystr(keys), text)
        for keys, text in jax.tree_util.tree_leaves_with_path(namespace["PARAMS"])
    ]
    assert got == wanted
    assert max(map(len, lines)) <= 88


@pytest.mark.parametrize("name", ["blocks", "numbered", "counted"])
def test_blocks_are_written_once(name):
    text = "\n".join(table_lines(shape_table(TREES[name]), "PARAMS"))
    assert text.count('"scale"') == 1


def test_leaves_are_marked_and_examples_counted_by_n():
    tree = {"a": spec(4, 3), "b": jnp.zeros((4, 2), jnp.int32)}
    table = shape_table(tree, batch_axis=0, fixed={"b"}, summed=[{"a"}, {"a"}])
    assert table.tree == {
        "a": "float32[n,3] summed summed1",
        "b": "int32[n,2] fixed",
    }


def test_short_text_goes_as_deep_as_there_is_room():
    tree = TREES["blocks"]
    assert short_text(tree, 400).startswith("{blocks: 12 x {fc: {b: 768, w: 768x3072}")
    assert short_text(tree, 60) == "{blocks: 12 x 6 leaves, wte: 50257x768}"
    assert short_text(tree, 10) == "73 leaves"
    assert "h_0..h_10" in short_text(TREES["numbered"], 400)


def wide_blocks():
    """Blocks of several widths, each a list of layers."""

    def layer(n, m):
        return {"w": spec(3, n, m), "norm": {"scale": spec(m), "shift": spec(m)}}

    widths = [(16, 32), (32, 64), (64, 128), (128, 256), (256, 512)]
    return {
        "blocks": [{"layers": [layer(n, m), layer(m, m)]} for n, m in widths],
        "head": spec(512, 10),
    }


def test_subtrees_that_differ_in_sizes_are_made_by_functions():
    tree = wide_blocks()
    text = "\n".join(table_lines(shape_table(tree), "PARAMS"))
    assert "block_shapes(512, 256)" in text
    assert text.count('"shift"') < 10
    namespace = {}
    exec(text, namespace)
    got = jax.tree.leaves(namespace["PARAMS"])
    shapes = [leaf.shape for leaf in jax.tree.leaves(tree)]
    assert got == [f"float32[{','.join(map(str, shape))}]" for shape in shapes]


def test_what_repeats_in_a_function_is_named_there():
    def block(width):
        norm = dict.fromkeys(("bias", "mean", "scale", "var"), f"float32[{width}]")
        others = {"conv": f"float32[3,3,{width},{width}]"}
        return {f"norm{number}": norm for number in range(1, 4)} | others

    tree = {number: block(width) for number, width in enumerate((4, 8, 4, 16, 8))}
    lines = table_lines(Table(tree=tree, flat=False), "PARAMS")
    namespace = {}
    exec("\n".join(lines), namespace)
    assert namespace["PARAMS"] == tree
