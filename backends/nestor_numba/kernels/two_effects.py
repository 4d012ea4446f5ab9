"""A node with two effects and no covariates, in closed form; same functions as in `any_effects`.

With P = (a, b; b, c), d its determinant, D^2 = diag(x, y) and det = det(I + D P D) = 1 + x a + y c + x y d,

    Q = (a + y d, b; b, c + x d) / det,    r = ((1 + y c) h1 - y b h2, (1 + x a) h2 - x b h1) / det

are the message to the parent, as a function of the node's mean; about the parent's own point, with the
shift e, it is (Q, r - Q e), and the quadratic form gains e'Q e - 2 r'e - h'D^2 r. On the way down, given
the parent's mean and covariance (z, S), z with the shift, and the score s = r - Q z,

    d log p / dx = (s1^2 + (Q S Q)_11 - Q_11) / 2,    and so for y,
    mean = z + D^2 s,   covariance = J S J' + J D^2,   J = (1 + y c, -x b; -y b, 1 + x a) / det.

Leaves are given by |U delta + r|^2, U = (u, v; 0, w), r a remainder (see `any_effects`). Their d is (u
w)^2, and Q e is U'k, e'Q e is r'k with

    k = ((1 + y w^2) r1 - y v w r2, (1 + x u^2 + y v^2) r2 - y v w r1) / det:

no digits are lost where P is nearly singular, or where r is small though a leaf's fit is far away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor_numba.kernels.any_effects import Message

if TYPE_CHECKING:
    from nestor_numba.kernels.any_effects import Matrix, Vector
    from nestor_numba.kernels.values import Number


def _entries(root: Matrix | None, P: Matrix) -> tuple[Number, Number, Number, Number]:
    if root is None:
        a, b, c = P[0][0], P[1][0], P[1][1]
        return a, b, c, a * c - b * b
    (u, v), w = root[0], root[1][1]
    a, square = u * u, w * w
    return a, u * v, v * v + square, a * square


def _weighed(root: Matrix, r: Vector, x: Vector, over: Number) -> tuple[Vector, Vector]:
    """K and U'k of a leaf."""
    (u, v), w = root[0], root[1][1]
    cross = x[1] * v * w
    k1 = ((1.0 + x[1] * w * w) * r[0] - cross * r[1]) * over
    k2 = ((1.0 + x[0] * u * u + x[1] * v * v) * r[1] - cross * r[0]) * over
    return [k1, k2], [u * k1, v * k1 + w * k2]


def _remainder(root: Matrix, r: Vector, z: Vector) -> Vector:
    """Of a leaf at z."""
    (u, v), w = root[0], root[1][1]
    return [r[0] + u * z[0] + v * z[1], r[1] + w * z[1]]


def _message(P: tuple[Number, ...], h: Vector, x: Vector, over: Number) -> Vector:
    """R of an inner node."""
    a, b, c, _ = P
    return [
        ((1.0 + x[1] * c) * h[0] - x[1] * b * h[1]) * over,
        ((1.0 + x[0] * a) * h[1] - x[0] * b * h[0]) * over,
    ]


def up(root: Matrix | None, P: Matrix, h: Matrix, e: Matrix, x: Vector) -> Message:
    """Integrate a node out; see `any_effects.up`."""
    a, b, c, d = entries = _entries(root, P)
    det = 1.0 + x[0] * a + x[1] * (c + x[0] * d)
    over = 1.0 / det
    q11, q12, q22 = (a + x[1] * d) * over, b * over, (c + x[0] * d) * over
    own = [h[0][0], h[1][0]]
    if root is not None:
        k, t = _weighed(root, own, x, over)
        form = own[0] * k[0] + own[1] * k[1]
        linear = [[0.0 - t[0]], [0.0 - t[1]]]
    else:
        e1, e2 = e[0][0], e[1][0]
        t1, t2 = q11 * e1 + q12 * e2, q12 * e1 + q22 * e2
        r = _message(entries, own, x, over)
        gain = x[0] * own[0] * r[0] + x[1] * own[1] * r[1]
        form = t1 * e1 + t2 * e2 - (2.0 * (r[0] * e1 + r[1] * e2) + gain)
        linear = [[r[0] - t1], [r[1] - t2]]
    return Message([[q11, q12], [q12, q22]], linear, [[form]], [det])


def _score(
    root: Matrix | None, P: tuple[Number, ...], h: Vector, z: Vector, x: Vector, over: Number
) -> Vector:
    """Derivative of a node's message at z."""
    if root is not None:
        t = _weighed(root, _remainder(root, h, z), x, over)[1]
        return [0.0 - t[0], 0.0 - t[1]]
    a, b, c, d = P
    r = _message(P, h, x, over)
    return [
        r[0] - ((a + x[1] * d) * z[0] + b * z[1]) * over,
        r[1] - (b * z[0] + (c + x[0] * d) * z[1]) * over,
    ]


def down(
    root: Matrix | None,
    P: Matrix,
    h: Matrix,
    z: Matrix,
    S: Matrix,
    x: Vector,
    F: Matrix | None,  # noqa: ARG001 - one column of 1
) -> tuple[Vector, Matrix, Matrix]:
    """Moments of a node from its parent's; see `any_effects.down`."""
    a, b, c, d = entries = _entries(root, P)
    over = 1.0 / (1.0 + x[0] * a + x[1] * (c + x[0] * d))
    q11, q12, q22 = (a + x[1] * d) * over, b * over, (c + x[0] * d) * over
    z1, z2 = z[0][0], z[1][0]
    s1, s2 = _score(root, entries, [h[0][0], h[1][0]], [z1, z2], x, over)
    s11, s12, s22 = S[0][0], S[1][0], S[1][1]
    k1, k2 = q11 * s11 + q12 * s12, q11 * s12 + q12 * s22
    first = s1 * s1 + (k1 * q11 + k2 * q12 - q11)
    k1, k2 = q12 * s11 + q22 * s12, q12 * s12 + q22 * s22
    second = s2 * s2 + (k1 * q12 + k2 * q22 - q22)
    j11, j22 = (1.0 + x[1] * c) * over, (1.0 + x[0] * a) * over
    j12, j21 = 0.0 - x[0] * b * over, 0.0 - x[1] * b * over
    k1, k2 = j11 * s11 + j12 * s12, j11 * s12 + j12 * s22
    n11, n12 = k1 * j11 + k2 * j12 + x[0] * j11, k1 * j21 + k2 * j22 + x[0] * j21
    k1, k2 = j21 * s11 + j22 * s12, j21 * s12 + j22 * s22
    n22 = k1 * j21 + k2 * j22 + x[1] * j22
    return [first, second], [[z1 + x[0] * s1], [z2 + x[1] * s2]], [[n11, n12], [n12, n22]]


def draw(root: Matrix | None, P: Matrix, h: Vector, z: Vector, x: Vector, noise: Vector) -> Vector:
    """Draw a node's coefficients given its parent's, by the lower square root of J D^2; see `any_effects`."""
    a, b, c, d = entries = _entries(root, P)
    over = 1.0 / (1.0 + x[0] * a + x[1] * (c + x[0] * d))
    s1, s2 = _score(root, entries, h, z, x, over)
    # J D^2 has determinant x y / det.
    corner = 1.0 + x[1] * c
    share = over / corner
    first = (x[0] * over * corner).call("sqrt") * noise[0]
    second = (x[1] / corner).call("sqrt") * noise[1]
    cross = x[1] * b * (x[0] * share).call("sqrt") * noise[0]
    return [z[0] + x[0] * s1 + first, z[1] + x[1] * s2 + second - cross]
