"""One effect, no covariates: the passes over one level, in closed form.

The scalar case of `nestor_numba.kernel_two`: with P, h, the shift e and the variance x, det = 1 + x P,

    Q = P / det,   r = h / det,   q = r - Q e,   log marginal += -log det / 2,
    quadratic form += Q e^2 - 2 r e - x h r,     s = r - Q (m + e),   d log p / dx = (s^2 + Q^2 S - Q) / 2,
    mean = m + e + x s,   variance = S / det^2 + x / det.
"""

from __future__ import annotations

from nestor_numba.compiling import njit
from nestor_numba.level import (
    COUNT,
    FIRST,
    FORM,
    GROUPS,
    PARENT_NODE,
    PARENT_SIZE,
    PARENT_SLOT,
    PARENT_STATE,
    PER_PARENT,
    ROOT,
    SAFE,
    SHIFT,
    SIZE,
    STATE,
    SUMS,
    VARIANCE,
)
from nestor_numba.simd import (
    LANES,
    exponent,
    gather,
    load,
    log_product,
    mantissa,
    scatter_add,
    splat,
    sqrt,
    store,
    total,
)


@njit
def up(leaves, level, constants, integers, scratch, precision):
    """Send the messages of a level to its parents, add to the quadratic form; return the sum of log det."""
    size, root, shift, state = level[SIZE], level[ROOT], level[SHIFT], level[STATE]
    out, parents, variance = level[PARENT_STATE], level[PARENT_SIZE], level[VARIANCE]
    x, zero = splat(scratch[variance]), splat(0.0)
    quadratic, logs, product, kept = zero, zero, splat(1.0), 0
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        if level[PER_PARENT]:
            x = gather(scratch, variance, integers, level[PARENT_NODE] + LANES * group)
        above, linear = zero, zero
        for _ in range(integers[level[COUNT] + group]):
            e = load(constants, shift + slot)
            if leaves:
                u = load(constants, root + slot)
                P = u * u * precision
            else:
                P = load(scratch, state + slot)
            det = 1.0 + x * P
            over = 1.0 / det
            Q = P * over
            quadratic += Q * e * e
            above += Q
            linear -= Q * e
            if not leaves:
                h = load(scratch, state + size + slot)
                r = h * over
                quadratic -= r * (2.0 * e + x * h)
                linear += r
            product *= mantissa(det)
            logs += exponent(det)
            slot += LANES
            kept += 1
            if kept == SAFE:
                logs += exponent(product)
                product, kept = mantissa(product), 0
        parent = level[PARENT_SLOT] + LANES * group
        scatter_add(scratch, out, integers, parent, above)
        scatter_add(scratch, out + parents, integers, parent, linear)
    scratch[level[FORM]] += total(quadratic)
    return log_product(logs, product)


@njit
def down(leaves, level, constants, integers, scratch, precision):
    """Add up what the scales' derivatives need; replace P and h of inner nodes by variance and mean."""
    size, root, shift, state = level[SIZE], level[ROOT], level[SHIFT], level[STATE]
    out, parents, variance = level[PARENT_STATE], level[PARENT_SIZE], level[VARIANCE]
    x, zero = splat(scratch[variance]), splat(0.0)
    sums = zero
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        node = level[PARENT_NODE] + LANES * group
        if level[PER_PARENT]:
            x, sums = gather(scratch, variance, integers, node), zero
        parent = level[PARENT_SLOT] + LANES * group
        S = gather(scratch, out, integers, parent)
        mean = gather(scratch, out + parents, integers, parent)
        for _ in range(integers[level[COUNT] + group]):
            e, h = load(constants, shift + slot) + mean, zero
            if leaves:
                u = load(constants, root + slot)
                P = u * u * precision
            else:
                P, h = load(scratch, state + slot), load(scratch, state + size + slot)
            over = 1.0 / (1.0 + x * P)
            Q = P * over
            score = h * over - Q * e
            sums += score * score + Q * (Q * S - 1.0)
            if not leaves:
                store(scratch, state + slot, (S * over + x) * over)
                store(scratch, state + size + slot, e + x * score)
            slot += LANES
        if level[PER_PARENT]:
            scatter_add(scratch, level[SUMS], integers, node, sums)
    if not level[PER_PARENT]:
        scratch[level[SUMS]] = total(sums)


@njit
def draw(leaves, level, constants, integers, scratch, precision, noise):
    """Draw the coefficients of a level given those of the parents; see `nestor_numba.kernel_two.draw`."""
    size, root, shift, state = level[SIZE], level[ROOT], level[SHIFT], level[STATE]
    out, parents, variance = level[PARENT_STATE], level[PARENT_SIZE], level[VARIANCE]
    x, zero = splat(scratch[variance]), splat(0.0)
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        if level[PER_PARENT]:
            x = gather(scratch, variance, integers, level[PARENT_NODE] + LANES * group)
        mean = gather(scratch, out + parents, integers, level[PARENT_SLOT] + LANES * group)
        for _ in range(integers[level[COUNT] + group]):
            e, h = load(constants, shift + slot) + mean, zero
            if leaves:
                u = load(constants, root + slot)
                P = u * u * precision
            else:
                P, h = load(scratch, state + slot), load(scratch, state + size + slot)
            over = 1.0 / (1.0 + x * P)
            value = e + x * (h - P * e) * over + sqrt(x * over) * load(noise, slot)
            if leaves:
                store(noise, slot, value)
            else:
                store(scratch, state + size + slot, value)
            slot += LANES
