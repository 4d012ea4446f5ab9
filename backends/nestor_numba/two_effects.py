"""A node with two effects and no covariates, in closed form; the functions are those of `any_effects`.

With P = (a, b; b, c), d its determinant, D^2 = diag(x, y) and det = det(I + D P D) = 1 + x a + y c + x y d,

    Q = (a + y d, b; b, c + x d) / det,    r = ((1 + y c) h1 - y b h2, (1 + x a) h2 - x b h1) / det

are the message to the parent, as a function of the node's mean; about the parent's own point, with the shift e,
it is (Q, r - Q e), and the quadratic form gains e'Q e - 2 r'e - h'D^2 r. On the way down, given the parent's
mean and covariance (z, S), z with the shift, and the score s = r - Q z,

    d log p / dx = (s1^2 + (Q S Q)_11 - Q_11) / 2,    and so for y,
    mean = z + D^2 s,   covariance = J S J' + J D^2,   J = (1 + y c, -x b; -y b, 1 + x a) / det.

At leaves h = 0, and d comes from the square root of P: it has all its digits where P is nearly singular.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor_numba.any_effects import Message

if TYPE_CHECKING:
    from nestor_numba.any_effects import Matrix, Vector
    from nestor_numba.emit import Number


def _entries(root: Matrix | None, P: Matrix) -> tuple[Number, Number, Number, Number]:
    if root is None:
        a, b, c = P[0][0], P[1][0], P[1][1]
        return a, b, c, a * c - b * b
    (u, v), w = root[0], root[1][1]
    a, square = u * u, w * w
    return a, u * v, v * v + square, a * square


def up(root: Matrix | None, P: Matrix, h: Matrix, e: Matrix, x: Vector) -> Message:
    """Integrate a node out; see `any_effects.up`."""
    a, b, c, d = _entries(root, P)
    det = 1.0 + x[0] * a + x[1] * (c + x[0] * d)
    over = 1.0 / det
    q11, q12, q22 = (a + x[1] * d) * over, b * over, (c + x[0] * d) * over
    e1, e2 = e[0][0], e[1][0]
    t1, t2 = q11 * e1 + q12 * e2, q12 * e1 + q22 * e2
    form = t1 * e1 + t2 * e2
    if root is not None:
        linear = [[0.0 - t1], [0.0 - t2]]
    else:
        h1, h2 = h[0][0], h[1][0]
        r1 = ((1.0 + x[1] * c) * h1 - x[1] * b * h2) * over
        r2 = ((1.0 + x[0] * a) * h2 - x[0] * b * h1) * over
        form = form - (2.0 * (r1 * e1 + r2 * e2) + x[0] * h1 * r1 + x[1] * h2 * r2)
        linear = [[r1 - t1], [r2 - t2]]
    return Message([[q11, q12], [q12, q22]], linear, [[form]], [det])


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
    a, b, c, d = _entries(root, P)
    over = 1.0 / (1.0 + x[0] * a + x[1] * (c + x[0] * d))
    q11, q12, q22 = (a + x[1] * d) * over, b * over, (c + x[0] * d) * over
    z1, z2 = z[0][0], z[1][0]
    s1, s2 = 0.0 - (q11 * z1 + q12 * z2), 0.0 - (q12 * z1 + q22 * z2)
    if root is None:
        h1, h2 = h[0][0], h[1][0]
        s1 = s1 + ((1.0 + x[1] * c) * h1 - x[1] * b * h2) * over
        s2 = s2 + ((1.0 + x[0] * a) * h2 - x[0] * b * h1) * over
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


def draw(
    root: Matrix | None, P: Matrix, h: Vector, z: Vector, x: Vector, noise: Vector
) -> Vector:
    """Draw a node's coefficients given its parent's, by the lower square root of J D^2; see `any_effects`."""
    a, b, c, d = _entries(root, P)
    over = 1.0 / (1.0 + x[0] * a + x[1] * (c + x[0] * d))
    s1 = 0.0 - ((a + x[1] * d) * z[0] + b * z[1])
    s2 = 0.0 - (b * z[0] + (c + x[0] * d) * z[1])
    if root is None:
        s1 = s1 + (1.0 + x[1] * c) * h[0] - x[1] * b * h[1]
        s2 = s2 + (1.0 + x[0] * a) * h[1] - x[0] * b * h[0]
    # J D^2 has determinant x y / det.
    corner = 1.0 + x[1] * c
    share = over / corner
    first = (x[0] * over * corner).call("sqrt") * noise[0]
    second = (x[1] / corner).call("sqrt") * noise[1]
    cross = x[1] * b * (x[0] * share).call("sqrt") * noise[0]
    return [z[0] + x[0] * s1 * over + first, z[1] + x[1] * s2 * over + second - cross]
