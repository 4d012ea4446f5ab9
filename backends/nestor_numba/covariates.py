"""Coefficients that do not vary, integrated out last: plain loops over a handful of numbers.

Once the tree is integrated out the marginal is exp(-v'G v / 2) with v = (1, -gamma). About its prior mean,
gamma has precision P = G_zz and linear term h = (G (1, -mean))_z, and is integrated out one coefficient at a time,
as the effects of a node are (see `nestor_numba.kernel_any`).
"""

from __future__ import annotations

import math

from nestor_numba.compiling import njit


@njit
def integrate(G, mean, variance, work):
    """Integrate gamma out of the quadratic form G, (m, m); returns (quadratic form, log det).

    Steps are kept in `work`: rows (c, c), terms (c,) and alphas (c,).
    """
    c = len(mean)
    quadratic = log_det = 0.0
    P, rows = work[: c * c], work[c * c : 2 * c * c]
    h, terms = work[2 * c * c : 2 * c * c + c], work[2 * c * c + c : 2 * c * c + 2 * c]
    alphas = work[2 * c * c + 2 * c : 2 * c * c + 3 * c]
    for i in range(c + 1):
        value = G[i * (c + 1)]
        for j in range(c):
            value -= G[i * (c + 1) + j + 1] * mean[j]
        if i == 0:
            quadratic += value
        else:
            h[i - 1] = value
            quadratic -= mean[i - 1] * value
        for j in range(1, c + 1):
            if i > 0:
                P[(i - 1) * c + j - 1] = G[i * (c + 1) + j]
    for j in range(c):
        x = variance[j]
        alpha = 1.0 / (1.0 + x * P[j * c + j])
        log_det -= math.log(alpha)
        quadratic -= x * alpha * h[j] * h[j]
        alphas[j], terms[j] = alpha, alpha * h[j]
        for k in range(c):
            rows[j * c + k] = alpha * P[j * c + k]
        for k in range(c):
            if k != j:
                h[k] -= x * P[j * c + k] * terms[j]
                for i in range(c):
                    if i != j:
                        P[k * c + i] -= x * P[j * c + k] * rows[j * c + i]
        h[j] = terms[j]
        for k in range(c):
            P[j * c + k] = rows[j * c + k]
            P[k * c + j] = rows[j * c + k]
    return quadratic, log_det


@njit
def factor(mean, variance, work, factors):
    """Fill `factors`, (m, m), whose columns' products sum to E[v v']; returns the sum of x d(2 log p)/dx."""
    c = len(mean)
    m = c + 1
    rows, terms = work[c * c : 2 * c * c], work[2 * c * c + c : 2 * c * c + 2 * c]
    alphas = work[2 * c * c + 2 * c : 2 * c * c + 3 * c]
    z, S = work[2 * c * c + 3 * c : 2 * c * c + 4 * c], work[2 * c * c + 4 * c : 3 * c * c + 4 * c]
    product = work[3 * c * c + 4 * c : 3 * c * c + 5 * c]
    z[:] = 0.0
    S[:] = 0.0
    sums = 0.0
    for back in range(c):
        j = c - 1 - back
        x = variance[j]
        score, spread = terms[j], 0.0
        for k in range(c):
            score -= rows[j * c + k] * z[k]
            product[k] = 0.0
            for i in range(c):
                product[k] += rows[j * c + i] * S[i * c + k]
            spread += product[k] * rows[j * c + k]
        sums += x * (score * score + spread - rows[j * c + j])
        z[j] += x * score
        for k in range(c):
            value = S[j * c + k] - x * product[k]
            if k == j:
                value += x * (alphas[j] + x * spread - product[j])
            S[j * c + k] = value
            S[k * c + j] = value
    factors[:] = 0.0
    factors[0] = 1.0
    for i in range(c):
        factors[(i + 1) * m] = -mean[i] - z[i]
        for j in range(i + 1):
            value = S[i * c + j]
            for k in range(j):
                value -= factors[(i + 1) * m + k + 1] * factors[(j + 1) * m + k + 1]
            if i == j:
                factors[(i + 1) * m + i + 1] = math.sqrt(max(value, 0.0))
            else:
                pivot = factors[(j + 1) * m + j + 1]
                factors[(i + 1) * m + j + 1] = value / pivot if pivot > 0.0 else 0.0
    return sums


@njit
def draw(mean, variance, work, factors, noise):
    """Draw gamma by standard normal noise, (c,); leaves v = (1, -gamma) in the first column of `factors`."""
    c = len(mean)
    m = c + 1
    rows, terms = work[c * c : 2 * c * c], work[2 * c * c + c : 2 * c * c + 2 * c]
    alphas = work[2 * c * c + 2 * c : 2 * c * c + 3 * c]
    z = work[2 * c * c + 3 * c : 2 * c * c + 4 * c]
    z[:] = 0.0
    for back in range(c):
        j = c - 1 - back
        x = variance[j]
        score = terms[j]
        for k in range(c):
            score -= rows[j * c + k] * z[k]
        z[j] += x * score + math.sqrt(x * alphas[j]) * noise[j]
    factors[0] = 1.0
    for i in range(c):
        factors[(i + 1) * m] = -mean[i] - z[i]
