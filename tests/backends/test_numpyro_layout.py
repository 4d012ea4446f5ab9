"""Slots of nodes: sums over children, what is spread to them, and their transposes."""

import numpy as np
import pytest

from nestor.data.design import LevelDesign
from nestor_numpyro.layout import SLICE_COST, lay_out

jax = pytest.importorskip("jax")

CHILDREN = {
    "one parent": [1000],
    "one child each": [1] * 50,
    "one child, then many": [1] * 3 + [700] + [2] * 40 + [9],
    "balanced": [5] * 30,
    "skewed": [int(1 + 3000 / (k + 1) ** 1.5) for k in range(400)][::-1],
}


@pytest.fixture(params=CHILDREN)
def level(request):
    children = CHILDREN[request.param]
    parent = np.repeat(np.arange(len(children)), children)
    return LevelDesign("g", parent, len(children), np.array([0]), per_parent=True)


def _where(places):
    from nestor_numpyro.children import Where

    return Where(places.node, places.slot, places.order, places.rank)


def test_every_node_has_a_slot_and_padding_is_bounded(level):
    layout, places = lay_out(level)
    assert layout.slots == len(places.node)
    np.testing.assert_array_equal(places.node[places.slot], np.arange(level.n))
    assert np.count_nonzero(places.node < level.n) == level.n
    # A slice for each octave would cost no more.
    children = np.bincount(level.parent)
    octaves = 2.0 ** np.ceil(np.log2(children))
    bound = octaves.sum() + SLICE_COST * len(np.unique(octaves))
    assert layout.slots + SLICE_COST * len(layout.slices) <= bound * 1.1 + 64


def test_sums_and_spreads(level):
    from nestor_numpyro.children import pick, place, spread, sum_children

    layout, places = lay_out(level)
    where, rng = _where(places), np.random.default_rng(1)
    values = rng.normal(size=(2, level.n))
    with jax.enable_x64(True):
        slots = place(where, jax.numpy.asarray(values))
        np.testing.assert_array_equal(pick(where, slots), values)
        expected = [np.bincount(level.parent, weights=v) for v in values]
        np.testing.assert_allclose(sum_children(layout, where, slots), expected, atol=1e-12)
        above = jax.numpy.asarray(rng.normal(size=(2, level.n_parents)))
        spreaded = pick(where, spread(layout, where, above))
        np.testing.assert_array_equal(spreaded, above[:, level.parent])


@pytest.mark.parametrize("name", ["sum_children", "spread", "place", "pick"])
def test_each_gradient_is_the_transpose(level, name):
    """<f(u), v> = <u, f'(v)>, the gradient of the left-hand side by u."""
    from nestor_numpyro import children

    layout, places = lay_out(level)
    where, rng = _where(places), np.random.default_rng(2)
    sizes = {
        "sum_children": layout.slots, "spread": level.n_parents, "place": level.n, "pick": layout.slots
    }  # fmt: skip
    function = getattr(children, name)
    given = (layout, where) if name in ("sum_children", "spread") else (where,)
    with jax.enable_x64(True):
        u = jax.numpy.asarray(rng.normal(size=(1, sizes[name])))
        if name == "pick":
            u = u * (places.node < level.n)
        out, back = jax.vjp(lambda u: function(*given, u), u)
        v = jax.numpy.asarray(rng.normal(size=out.shape))
        if name == "place":
            v = v * (places.node < level.n)
        (gradient,) = back(v)
        assert float((out * v).sum()) == pytest.approx(float((u * gradient).sum()), rel=1e-11)
