"""Moving values between parents and the slots of their children, without a scatter in either direction.

What JAX would derive as the transpose of a gather is a scatter, several times as slow on a CPU; here each
function's transpose is written as one of the others.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from nestor_numpyro.layout import Layout


class Where(NamedTuple):
    """Indices of `nestor_numpyro.layout.Places`, on the device."""

    node: Any
    slot: Any
    order: Any
    rank: Any


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def sum_children(layout: Layout, where: Where, values: Any) -> Any:
    """Sum over the children of each parent: (k, slots) to (k, n_parents). Padding must hold zeros."""
    sums, begin, k = [], 0, len(values)
    for s in layout.slices:
        part = values[:, begin : begin + s.slots]
        part = part.reshape(k, s.width // s.lanes, s.lanes * s.parents).sum(axis=1)
        if s.lanes > 1:
            # Else XLA makes one sum of the two, a scalar one.
            part = jax.lax.optimization_barrier(part).reshape(k, s.lanes, s.parents).sum(axis=1)
        sums.append(part)
        begin += s.slots
    joined = sums[0] if len(sums) == 1 else jnp.concatenate(sums, axis=1)
    return joined if layout.in_order else _take(joined, where.rank)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def spread(layout: Layout, where: Where, values: Any) -> Any:
    """Give each slot its parent's values: (k, n_parents) to (k, slots), padding included."""
    ordered = values if layout.in_order else _take(values, where.order)
    parts, begin, k = [], 0, len(values)
    for s in layout.slices:
        part = ordered[:, None, begin : begin + s.parents]
        parts.append(jnp.broadcast_to(part, (k, s.width, s.parents)).reshape(k, s.slots))
        begin += s.parents
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


sum_children.defvjp(
    lambda layout, where, values: (sum_children(layout, where, values), where),
    lambda layout, where, g: (None, spread(layout, where, g)),
)
spread.defvjp(
    lambda layout, where, values: (spread(layout, where, values), where),
    lambda layout, where, g: (None, sum_children(layout, where, g)),
)


@partial(jax.custom_vjp, nondiff_argnums=())
def place(where: Where, values: Any) -> Any:
    """Put each node's values into its slot: (k, n) to (k, slots); zeros in padding."""
    return values.at[:, where.node].get(mode="fill", fill_value=0)


@partial(jax.custom_vjp, nondiff_argnums=())
def pick(where: Where, values: Any) -> Any:
    """Read each node's values from its slot: (k, slots) to (k, n)."""
    return _take(values, where.slot)


place.defvjp(
    lambda where, values: (place(where, values), where), lambda where, g: (None, pick(where, g))
)
pick.defvjp(
    lambda where, values: (pick(where, values), where), lambda where, g: (None, place(where, g))
)


def _take(values: Any, index: Any) -> Any:
    return values.at[:, index].get(mode="promise_in_bounds", unique_indices=True)
