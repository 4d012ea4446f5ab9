"""Any number of effects and of covariates: the passes over one level, one innovation at a time.

A node's coefficients are its parent's plus independent innovations Normal(0, x_j), one for each effect. With
P and h the precision and linear term about the node, they are integrated out in turn (alpha = 1 / (1 + x P_jj)):

    P -= x alpha P_j P_j',   h -= x alpha h_j P_j,   quadratic form -= x alpha h_j^2,   log det += -log alpha;

P_j and h_j then are alpha times what they were. This is the sequential update of the Kalman filter (Anderson and
Moore 1979, chapter 6) with state and observation exchanged. On the way down, from the last innovation to the
first, with the mean and covariance (z, S) of the vector without it, P_j and h_j as their step left them,

    s = h_j - P_j'z,   d log p / dx = (s^2 + P_j'S P_j - P_jj) / 2,
    the innovation is Normal(x s, x alpha).

At leaves P = V'V is kept as a square root, which the update leaves one (Potter's; Bierman 1977, chapter II):
V -= kappa phi phi'V with phi = V_j, kappa = x alpha / (1 + sqrt(alpha)): half the digits of P are then enough.

Covariates are further columns of h and of the shifts: with v = (1, -gamma), h v is linear in v, and the
quadratic form is v'G v. Means have as many columns, those of a factor of E[v v'].
"""

from __future__ import annotations

from nestor_numba.compiling import njit
from nestor_numba.level import (
    COLUMNS,
    COUNT,
    EFFECTS,
    FACTOR,
    FIRST,
    FORM,
    GROUPS,
    LOCAL,
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
    STEPS,
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
def local_size(p, m):
    """Vectors of `LANES` numbers that the kernel keeps for itself."""
    return 4 * p * p + 4 * p * m + m * m + 6 * p


@njit
def _read_root(p, root, size, slot, constants, scratch, V, factor):
    """Copy a leaf's square root of P to V, (p, p)."""
    at = root + slot
    for i in range(p):
        for j in range(p):
            if j < i:
                store(scratch, V + LANES * (i * p + j), splat(0.0))
            else:
                store(scratch, V + LANES * (i * p + j), load(constants, at) * factor)
                at += size


@njit
def _step_root(p, j, x, scratch, V, row):
    """Integrate innovation `j` out of P = V'V; leaves alpha P_j in `row`, returns 1 / alpha."""
    phi = row + LANES * p
    length = splat(0.0)
    for i in range(p):
        value = load(scratch, V + LANES * (i * p + j))
        store(scratch, phi + LANES * i, value)
        length += value * value
    det = 1.0 + x * length
    alpha = 1.0 / det
    kappa = x * alpha / (1.0 + sqrt(alpha))
    for k in range(p):
        sums = splat(0.0)
        for i in range(p):
            sums += load(scratch, phi + LANES * i) * load(scratch, V + LANES * (i * p + k))
        store(scratch, row + LANES * k, sums * alpha)
        sums *= kappa
        for i in range(p):
            at = V + LANES * (i * p + k)
            store(scratch, at, load(scratch, at) - load(scratch, phi + LANES * i) * sums)
    return det


@njit
def _step_full(p, m, j, x, scratch, Q, H, G):
    """Integrate innovation `j` out of full Q, (p, p), and H, (p, m), in place; returns 1 / alpha."""
    det = 1.0 + x * load(scratch, Q + LANES * (j * p + j))
    alpha = 1.0 / det
    for c in range(m):
        own = load(scratch, H + LANES * (j * m + c))
        for d in range(m):
            at = G + LANES * (c * m + d)
            other = load(scratch, H + LANES * (j * m + d))
            store(scratch, at, load(scratch, at) - x * alpha * own * other)
    for k in range(p):
        if k != j:
            factor = x * alpha * load(scratch, Q + LANES * (j * p + k))
            for i in range(p):
                if i != j:
                    at = Q + LANES * (k * p + i)
                    store(scratch, at, load(scratch, at) - factor * load(scratch, Q + LANES * (j * p + i)))
            for c in range(m):
                at = H + LANES * (k * m + c)
                store(scratch, at, load(scratch, at) - factor * load(scratch, H + LANES * (j * m + c)))
    for k in range(p):
        value = load(scratch, Q + LANES * (j * p + k)) * alpha
        store(scratch, Q + LANES * (j * p + k), value)
        store(scratch, Q + LANES * (k * p + j), value)
    for c in range(m):
        at = H + LANES * (j * m + c)
        store(scratch, at, load(scratch, at) * alpha)
    return det


@njit
def _read_state(p, m, state, size, slot, scratch, Q, H):
    """Copy an inner node's P and h to Q, (p, p), and H, (p, m)."""
    at = state + slot
    for i in range(p):
        for j in range(i + 1):
            value = load(scratch, at)
            store(scratch, Q + LANES * (i * p + j), value)
            store(scratch, Q + LANES * (j * p + i), value)
            at += size
    for i in range(p * m):
        store(scratch, H + LANES * i, load(scratch, at))
        at += size


@njit
def _keep_step(p, m, j, det, steps, size, slot, scratch, Q, H):
    """Keep P_j, h_j and alpha of an inner node's step for the way down."""
    at = steps + slot + size * j * (p + m + 1)
    for k in range(p):
        store(scratch, at, load(scratch, Q + LANES * (j * p + k)))
        at += size
    for c in range(m):
        store(scratch, at, load(scratch, H + LANES * (j * m + c)))
        at += size
    store(scratch, at, 1.0 / det)


@njit
def _send_root(p, m, shift, size, slot, constants, scratch, V, T, P, h, G):
    """Add a leaf's message, about V'V and its shift, to its family's sums P and h, and to G."""
    for i in range(p):
        for c in range(m):
            value = splat(0.0)
            for k in range(p):
                e = load(constants, shift + size * (k * m + c) + slot)
                value += load(scratch, V + LANES * (i * p + k)) * e
            store(scratch, T + LANES * (i * m + c), value)
    at = P
    for k in range(p):
        for j in range(k + 1):
            sums = load(scratch, at)
            for i in range(p):
                sums += load(scratch, V + LANES * (i * p + k)) * load(scratch, V + LANES * (i * p + j))
            store(scratch, at, sums)
            at += LANES
    for k in range(p):
        for c in range(m):
            sums = load(scratch, h + LANES * (k * m + c))
            for i in range(p):
                sums -= load(scratch, V + LANES * (i * p + k)) * load(scratch, T + LANES * (i * m + c))
            store(scratch, h + LANES * (k * m + c), sums)
    for c in range(m):
        for d in range(m):
            sums = load(scratch, G + LANES * (c * m + d))
            for i in range(p):
                sums += load(scratch, T + LANES * (i * m + c)) * load(scratch, T + LANES * (i * m + d))
            store(scratch, G + LANES * (c * m + d), sums)


@njit
def _send_full(p, m, shift, size, slot, constants, scratch, Q, H, T, P, h, G):
    """Add an inner node's message, about full Q, H and its shift, to its family's sums, and to G."""
    for k in range(p):
        for c in range(m):
            value = splat(0.0)
            for i in range(p):
                e = load(constants, shift + size * (i * m + c) + slot)
                value += load(scratch, Q + LANES * (k * p + i)) * e
            store(scratch, T + LANES * (k * m + c), value)
            at = h + LANES * (k * m + c)
            own = load(scratch, H + LANES * (k * m + c))
            store(scratch, at, load(scratch, at) + own - value)
    at = P
    for k in range(p):
        for j in range(k + 1):
            store(scratch, at, load(scratch, at) + load(scratch, Q + LANES * (k * p + j)))
            at += LANES
    for c in range(m):
        for d in range(m):
            sums = load(scratch, G + LANES * (c * m + d))
            for k in range(p):
                e_c = load(constants, shift + size * (k * m + c) + slot)
                e_d = load(constants, shift + size * (k * m + d) + slot)
                sums += e_c * (load(scratch, T + LANES * (k * m + d)) - load(scratch, H + LANES * (k * m + d)))
                sums -= e_d * load(scratch, H + LANES * (k * m + c))
            store(scratch, G + LANES * (c * m + d), sums)


@njit
def up(leaves, level, constants, integers, scratch, precision):
    """Send the messages of a level to its parents, add to the quadratic form; return the sum of log det."""
    p, m, size = level[EFFECTS], level[COLUMNS], level[SIZE]
    variance, scales = level[VARIANCE], level[SCALES]
    triangle = p * (p + 1) // 2
    V = level[LOCAL]
    H, T, row = V + LANES * p * p, V + LANES * (p * p + p * m), V + LANES * (p * p + 2 * p * m)
    P = row + LANES * 2 * p
    h = P + LANES * triangle
    G = h + LANES * p * m
    for i in range(m * m):
        store(scratch, G + LANES * i, splat(0.0))
    logs, product, kept = splat(0.0), splat(1.0), 0
    factor = splat(precision**0.5)
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        node = level[PARENT_NODE] + LANES * group
        for i in range(triangle + p * m):
            store(scratch, P + LANES * i, splat(0.0))
        for _ in range(integers[level[COUNT] + group]):
            if leaves:
                _read_root(p, level[ROOT], size, slot, constants, scratch, V, factor)
            else:
                _read_state(p, m, level[STATE], size, slot, scratch, V, H)
            for j in range(p):
                x = splat(scratch[variance + j * scales])
                if level[PER_PARENT]:
                    x = gather(scratch, variance + j * scales, integers, node)
                if leaves:
                    det = _step_root(p, j, x, scratch, V, row)
                else:
                    det = _step_full(p, m, j, x, scratch, V, H, G)
                    _keep_step(p, m, j, det, level[STEPS], size, slot, scratch, V, H)
                product *= mantissa(det)
                logs += exponent(det)
                kept += 1
                if kept == SAFE:
                    logs += exponent(product)
                    product, kept = mantissa(product), 0
            if leaves:
                _send_root(p, m, level[SHIFT], size, slot, constants, scratch, V, T, P, h, G)
            else:
                _send_full(p, m, level[SHIFT], size, slot, constants, scratch, V, H, T, P, h, G)
            slot += LANES
        for i in range(triangle + p * m):
            place = level[PARENT_STATE] + i * level[PARENT_SIZE]
            parent = level[PARENT_SLOT] + LANES * group
            scatter_add(scratch, place, integers, parent, load(scratch, P + LANES * i))
    for i in range(m * m):
        scratch[level[FORM] + i] += total(load(scratch, G + LANES * i))
    return log_product(logs, product)


@njit
def _recall(leaves, p, m, j, x, level, slot, scratch, V, rows, terms):
    """Bring a step's P_j to `rows`, (p, p), and h_j and alpha to `terms`, (p, m + 1); leaves repeat it."""
    row, term = rows + LANES * j * p, terms + LANES * j * (m + 1)
    if leaves:
        work = terms + LANES * p * (m + 1)
        det = _step_root(p, j, x, scratch, V, work)
        for k in range(p):
            store(scratch, row + LANES * k, load(scratch, work + LANES * k))
        for c in range(m):
            store(scratch, term + LANES * c, splat(0.0))
        store(scratch, term + LANES * m, 1.0 / det)
        return
    at = level[STEPS] + slot + level[SIZE] * j * (p + m + 1)
    for k in range(p):
        store(scratch, row + LANES * k, load(scratch, at))
        at += level[SIZE]
    for c in range(m + 1):
        store(scratch, term + LANES * c, load(scratch, at))
        at += level[SIZE]


@njit
def _descend(p, m, j, x, scratch, factors, row, term, Z, S, work):
    """Add innovation `j` to the vector's mean and covariance; returns the sum for its derivative."""
    sums = splat(0.0)
    for r in range(m):
        score = splat(0.0)
        for c in range(m):
            score += load(scratch, term + LANES * c) * scratch[factors + c * m + r]
        for k in range(p):
            score -= load(scratch, row + LANES * k) * load(scratch, Z + LANES * (k * m + r))
        sums += score * score
        at = Z + LANES * (j * m + r)
        store(scratch, at, load(scratch, at) + x * score)
    spread = splat(0.0)
    for k in range(p):
        value = splat(0.0)
        for i in range(p):
            value += load(scratch, row + LANES * i) * load(scratch, S + LANES * (i * p + k))
        store(scratch, work + LANES * k, value)
        spread += value * load(scratch, row + LANES * k)
    own = load(scratch, row + LANES * j)
    for k in range(p):
        value = load(scratch, S + LANES * (j * p + k)) - x * load(scratch, work + LANES * k)
        if k == j:
            value += x * (load(scratch, term + LANES * m) + x * spread - load(scratch, work + LANES * j))
        store(scratch, S + LANES * (j * p + k), value)
        store(scratch, S + LANES * (k * p + j), value)
    return sums + spread - own


@njit
def down(leaves, level, constants, integers, scratch, precision):
    """Add up what the scales' derivatives need; replace P and h of inner nodes by covariance and means."""
    p, m, size = level[EFFECTS], level[COLUMNS], level[SIZE]
    variance, scales, factors = level[VARIANCE], level[SCALES], level[FACTOR]
    V = level[LOCAL]
    rows, terms = V + LANES * p * p, V + LANES * 2 * p * p
    work = terms + LANES * p * (m + 1)
    Z = work + LANES * 2 * p
    S, W = Z + LANES * p * m, Z + LANES * (p * m + p * p)
    for j in range(p):
        store(scratch, W + LANES * j, splat(0.0))
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        node = level[PARENT_NODE] + LANES * group
        parent = level[PARENT_SLOT] + LANES * group
        for _ in range(integers[level[COUNT] + group]):
            at = level[PARENT_STATE]
            for i in range(p):
                for k in range(i + 1):
                    value = gather(scratch, at, integers, parent)
                    store(scratch, S + LANES * (i * p + k), value)
                    store(scratch, S + LANES * (k * p + i), value)
                    at += level[PARENT_SIZE]
            for k in range(p):
                for r in range(m):
                    value = gather(scratch, at, integers, parent)
                    for c in range(m):
                        e = load(constants, level[SHIFT] + size * (k * m + c) + slot)
                        value += e * scratch[factors + c * m + r]
                    store(scratch, Z + LANES * (k * m + r), value)
                    at += level[PARENT_SIZE]
            if leaves:
                _read_root(p, level[ROOT], size, slot, constants, scratch, V, splat(precision**0.5))
            for j in range(p):
                x = splat(scratch[variance + j * scales])
                if level[PER_PARENT]:
                    x = gather(scratch, variance + j * scales, integers, node)
                _recall(leaves, p, m, j, x, level, slot, scratch, V, rows, terms)
            for back in range(p):
                j = p - 1 - back
                x = splat(scratch[variance + j * scales])
                if level[PER_PARENT]:
                    x = gather(scratch, variance + j * scales, integers, node)
                row, term = rows + LANES * j * p, terms + LANES * j * (m + 1)
                found = _descend(p, m, j, x, scratch, factors, row, term, Z, S, work)
                if level[PER_PARENT]:
                    scatter_add(scratch, level[SUMS] + j * scales, integers, node, found)
                else:
                    store(scratch, W + LANES * j, load(scratch, W + LANES * j) + found)
            if not leaves:
                at = level[STATE] + slot
                for i in range(p):
                    for k in range(i + 1):
                        store(scratch, at, load(scratch, S + LANES * (i * p + k)))
                        at += size
                for i in range(p * m):
                    store(scratch, at, load(scratch, Z + LANES * i))
                    at += size
            slot += LANES
    if not level[PER_PARENT]:
        for j in range(p):
            scratch[level[SUMS] + j * scales] = total(load(scratch, W + LANES * j))


@njit
def draw(leaves, level, constants, integers, scratch, precision, noise):
    """Draw the coefficients of a level given those of the parents; see `nestor_numba.kernel_two.draw`.

    The first column of the factor holds v = (1, -gamma), and the parents' values are in that of their means.
    """
    p, m, size = level[EFFECTS], level[COLUMNS], level[SIZE]
    variance, scales, factors = level[VARIANCE], level[SCALES], level[FACTOR]
    V = level[LOCAL]
    rows, terms = V + LANES * p * p, V + LANES * 2 * p * p
    z = terms + LANES * (p * (m + 1) + 2 * p)
    means = p * (p + 1) // 2
    for group in range(level[GROUPS]):
        slot = integers[level[FIRST] + group]
        node = level[PARENT_NODE] + LANES * group
        parent = level[PARENT_SLOT] + LANES * group
        for _ in range(integers[level[COUNT] + group]):
            if leaves:
                _read_root(p, level[ROOT], size, slot, constants, scratch, V, splat(precision**0.5))
            for k in range(p):
                at = level[PARENT_STATE] + (means + k * m) * level[PARENT_SIZE]
                value = gather(scratch, at, integers, parent)
                for c in range(m):
                    e = load(constants, level[SHIFT] + size * (k * m + c) + slot)
                    value += e * scratch[factors + c * m]
                store(scratch, z + LANES * k, value)
                x = splat(scratch[variance + k * scales])
                if level[PER_PARENT]:
                    x = gather(scratch, variance + k * scales, integers, node)
                _recall(leaves, p, m, k, x, level, slot, scratch, V, rows, terms)
            for back in range(p):
                j = p - 1 - back
                x = splat(scratch[variance + j * scales])
                if level[PER_PARENT]:
                    x = gather(scratch, variance + j * scales, integers, node)
                score = splat(0.0)
                for c in range(m):
                    score += load(scratch, terms + LANES * (j * (m + 1) + c)) * scratch[factors + c * m]
                for k in range(p):
                    score -= load(scratch, rows + LANES * (j * p + k)) * load(scratch, z + LANES * k)
                left = x * load(scratch, terms + LANES * (j * (m + 1) + m))
                value = load(scratch, z + LANES * j) + x * score
                value += sqrt(left) * load(noise, j * size + slot)
                store(scratch, z + LANES * j, value)
            for k in range(p):
                if leaves:
                    store(noise, k * size + slot, load(scratch, z + LANES * k))
                else:
                    store(scratch, level[STATE] + (means + k * m) * size + slot, load(scratch, z + LANES * k))
            slot += LANES
