"""Two effects, no covariates: the passes over one level, in closed form.

P = (a, b; b, c) and h are the precision and linear term that the rows below a node put on its coefficients, d
the determinant of P, e the node's shift (its parent's pivot less its own), x and y the effects' variances about
the parent. With D^2 = diag(x, y) and det = det(I + D P D) = 1 + x a + y c + x y d, the message to the parent is

    Q = (a + y d, b; b, c + x d) / det,    r = ((1 + y c) h1 - y b h2, (1 + x a) h2 - x b h1) / det,
    q = r - Q e,    log marginal += -log det / 2,    quadratic form += e'Q e - 2 r'e - h'D^2 r.

On the way down, given the parent's mean and covariance (m, S), with the node's score s = r - Q (m + e),

    d log p / dx = (s1^2 + (Q S Q)_11 - Q_11) / 2,    and so for y (a Gaussian obeys the heat equation),
    mean = m + e + D^2 s,   covariance = J S J' + C,
    J = (1 + y c, -x b; -y b, 1 + x a) / det,   C = J D^2.

At leaves h = 0, since a leaf's pivot is its own least-squares fit, and d is computed from the square root of P,
so that it has all its digits where P is nearly singular.
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
    SCALES,
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
    variance, scales = level[VARIANCE], level[SCALES]
    out, parents = level[PARENT_STATE], level[PARENT_SIZE]
    x, y = splat(scratch[variance]), splat(scratch[variance + scales])
    zero = splat(0.0)
    quadratic, logs, product, kept = zero, zero, splat(1.0), 0
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        if level[PER_PARENT]:
            node = level[PARENT_NODE] + LANES * group
            x = gather(scratch, variance, integers, node)
            y = gather(scratch, variance + scales, integers, node)
        p11, p12, p22, q1, q2 = zero, zero, zero, zero, zero
        for _ in range(integers[level[COUNT] + group]):
            e1, e2 = load(constants, shift + slot), load(constants, shift + size + slot)
            if leaves:
                u, v = load(constants, root + slot), load(constants, root + size + slot)
                w = load(constants, root + 2 * size + slot)
                a, b, left = u * u * precision, u * v * precision, w * w * precision
                c, d = v * v * precision + left, a * left
            else:
                a, b = load(scratch, state + slot), load(scratch, state + size + slot)
                c = load(scratch, state + 2 * size + slot)
                d = a * c - b * b
            det = 1.0 + x * a + y * (c + x * d)
            over = 1.0 / det
            q11, q12, q22 = (a + y * d) * over, b * over, (c + x * d) * over
            t1, t2 = q11 * e1 + q12 * e2, q12 * e1 + q22 * e2
            quadratic += t1 * e1 + t2 * e2
            p11 += q11
            p12 += q12
            p22 += q22
            q1 -= t1
            q2 -= t2
            if not leaves:
                h1, h2 = load(scratch, state + 3 * size + slot), load(scratch, state + 4 * size + slot)
                r1 = ((1.0 + y * c) * h1 - y * b * h2) * over
                r2 = ((1.0 + x * a) * h2 - x * b * h1) * over
                quadratic -= 2.0 * (r1 * e1 + r2 * e2) + x * h1 * r1 + y * h2 * r2
                q1 += r1
                q2 += r2
            product *= mantissa(det)
            logs += exponent(det)
            slot += LANES
            kept += 1
            if kept == SAFE:
                logs += exponent(product)
                product, kept = mantissa(product), 0
        node = level[PARENT_SLOT] + LANES * group
        scatter_add(scratch, out, integers, node, p11)
        scatter_add(scratch, out + parents, integers, node, p12)
        scatter_add(scratch, out + 2 * parents, integers, node, p22)
        scatter_add(scratch, out + 3 * parents, integers, node, q1)
        scatter_add(scratch, out + 4 * parents, integers, node, q2)
    scratch[level[FORM]] += total(quadratic)
    return log_product(logs, product)


@njit
def down(leaves, level, constants, integers, scratch, precision):
    """Add up what the scales' derivatives need; replace P and h of inner nodes by covariance and mean."""
    size, root, shift, state = level[SIZE], level[ROOT], level[SHIFT], level[STATE]
    variance, scales, sums = level[VARIANCE], level[SCALES], level[SUMS]
    out, parents = level[PARENT_STATE], level[PARENT_SIZE]
    x, y = splat(scratch[variance]), splat(scratch[variance + scales])
    zero = splat(0.0)
    w1, w2 = zero, zero
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        node = level[PARENT_NODE] + LANES * group
        if level[PER_PARENT]:
            x = gather(scratch, variance, integers, node)
            y = gather(scratch, variance + scales, integers, node)
            w1, w2 = zero, zero
        parent = level[PARENT_SLOT] + LANES * group
        s11, s12 = gather(scratch, out, integers, parent), gather(scratch, out + parents, integers, parent)
        s22 = gather(scratch, out + 2 * parents, integers, parent)
        m1 = gather(scratch, out + 3 * parents, integers, parent)
        m2 = gather(scratch, out + 4 * parents, integers, parent)
        for _ in range(integers[level[COUNT] + group]):
            e1, e2 = load(constants, shift + slot) + m1, load(constants, shift + size + slot) + m2
            if leaves:
                u, v = load(constants, root + slot), load(constants, root + size + slot)
                w = load(constants, root + 2 * size + slot)
                a, b, left = u * u * precision, u * v * precision, w * w * precision
                c, d = v * v * precision + left, a * left
            else:
                a, b = load(scratch, state + slot), load(scratch, state + size + slot)
                c = load(scratch, state + 2 * size + slot)
                d = a * c - b * b
            over = 1.0 / (1.0 + x * a + y * (c + x * d))
            q11, q12, q22 = (a + y * d) * over, b * over, (c + x * d) * over
            t1, t2 = q11 * e1 + q12 * e2, q12 * e1 + q22 * e2
            if not leaves:
                h1, h2 = load(scratch, state + 3 * size + slot), load(scratch, state + 4 * size + slot)
                t1 -= ((1.0 + y * c) * h1 - y * b * h2) * over
                t2 -= ((1.0 + x * a) * h2 - x * b * h1) * over
            k1, k2 = q11 * s11 + q12 * s12, q11 * s12 + q12 * s22
            w1 += t1 * t1 + k1 * q11 + k2 * q12 - q11
            k1, k2 = q12 * s11 + q22 * s12, q12 * s12 + q22 * s22
            w2 += t2 * t2 + k1 * q12 + k2 * q22 - q22
            if not leaves:
                j11, j22 = (1.0 + y * c) * over, (1.0 + x * a) * over
                j12, j21 = zero - x * b * over, zero - y * b * over
                k1, k2 = j11 * s11 + j12 * s12, j11 * s12 + j12 * s22
                store(scratch, state + slot, k1 * j11 + k2 * j12 + x * j11)
                store(scratch, state + size + slot, k1 * j21 + k2 * j22 + x * j21)
                k1, k2 = j21 * s11 + j22 * s12, j21 * s12 + j22 * s22
                store(scratch, state + 2 * size + slot, k1 * j21 + k2 * j22 + y * j22)
                store(scratch, state + 3 * size + slot, e1 - x * t1)
                store(scratch, state + 4 * size + slot, e2 - y * t2)
            slot += LANES
        if level[PER_PARENT]:
            scatter_add(scratch, sums, integers, node, w1)
            scatter_add(scratch, sums + scales, integers, node, w2)
    if not level[PER_PARENT]:
        scratch[sums] = total(w1)
        scratch[sums + scales] = total(w2)


@njit
def draw(leaves, level, constants, integers, scratch, precision, noise):
    """Draw the coefficients of a level, less their pivots, given those of the parents.

    `noise` is standard normal, by slot: what it is multiplied with is the lower square root of C. Inner nodes'
    P and h are replaced by the values, in the places of h; those of leaves replace the noise.
    """
    size, root, shift, state = level[SIZE], level[ROOT], level[SHIFT], level[STATE]
    variance, scales = level[VARIANCE], level[SCALES]
    out, parents = level[PARENT_STATE], level[PARENT_SIZE]
    x, y = splat(scratch[variance]), splat(scratch[variance + scales])
    zero = splat(0.0)
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        if level[PER_PARENT]:
            node = level[PARENT_NODE] + LANES * group
            x = gather(scratch, variance, integers, node)
            y = gather(scratch, variance + scales, integers, node)
        parent = level[PARENT_SLOT] + LANES * group
        m1 = gather(scratch, out + 3 * parents, integers, parent)
        m2 = gather(scratch, out + 4 * parents, integers, parent)
        for _ in range(integers[level[COUNT] + group]):
            e1, e2 = load(constants, shift + slot) + m1, load(constants, shift + size + slot) + m2
            h1, h2 = zero, zero
            if leaves:
                u, v = load(constants, root + slot), load(constants, root + size + slot)
                w = load(constants, root + 2 * size + slot)
                a, b, left = u * u * precision, u * v * precision, w * w * precision
                c, d = v * v * precision + left, a * left
            else:
                a, b = load(scratch, state + slot), load(scratch, state + size + slot)
                c = load(scratch, state + 2 * size + slot)
                d = a * c - b * b
                h1, h2 = load(scratch, state + 3 * size + slot), load(scratch, state + 4 * size + slot)
            det = 1.0 + x * a + y * (c + x * d)
            over = 1.0 / det
            t1 = ((1.0 + y * c) * h1 - y * b * h2 - (a + y * d) * e1 - b * e2) * over
            t2 = ((1.0 + x * a) * h2 - x * b * h1 - b * e1 - (c + x * d) * e2) * over
            # C = (x (1 + y c), -x y b; -x y b, y (1 + x a)) / det; its determinant is x y / det.
            c11 = 1.0 + y * c
            n1, n2 = load(noise, slot), load(noise, size + slot)
            first = sqrt(x * c11 * over)
            second = sqrt(y / c11)
            third = sqrt(x * over / c11)
            value1 = e1 + x * t1 + first * n1
            value2 = e2 + y * t2 + second * n2 - y * b * third * n1
            if leaves:
                store(noise, slot, value1)
                store(noise, size + slot, value2)
            else:
                store(scratch, state + 3 * size + slot, value1)
                store(scratch, state + 4 * size + slot, value2)
            slot += LANES
