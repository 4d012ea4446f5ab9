"""A node with any number of effects and of covariates, integrated out one innovation at a time.

A node's coefficients are its parent's plus independent innovations Normal(0, x_j), one for each effect.
With P and h the precision and linear term about the node, they are integrated out in turn (alpha = 1 / (1 +
x P_jj)):

    P -= x alpha P_j P_j',   h -= x alpha h_j P_j,   quadratic form -= x alpha h_j^2,   log det += -log alpha;

P_j and h_j then are alpha times what they were. This is the sequential update of the Kalman filter
(Anderson and Moore 1979, chapter 6) with state and observation exchanged. On the way down, from the last
innovation to the first, with the mean and covariance (z, S) of the vector without it, P_j and h_j as its
step left them,

    s = h_j - P_j'z,   d log p / dx = (s^2 + P_j'S P_j - P_jj) / 2,   innovation ~ Normal(x s, x alpha)

(the derivative is that of a Gaussian by its variance: half its second derivative, the heat equation).

What leaves know is |V delta + R|^2, a square root V of P and the remainder R of their own least-squares fit
at the parent's pivot. The update leaves it one (Potter's; Bierman 1977, chapter II): with phi = V_j and
kappa = x alpha / (1 + sqrt(alpha)), (V, R) -= kappa phi phi'(V, R). So half the digits of P are enough, and
a leaf that says next to nothing about an effect, whose fit may be anywhere, costs none.

From three effects on inner nodes are kept so too: what they know of one effect may be a trillionth of what
they know of another, and P has 16 digits for both. Messages are then added up by rotations of their rows.

Covariates are further columns of h, R and the shift e: with v = (1, -gamma) all are linear in v, and the
quadratic form is v'G v. Means have as many columns, those of a factor F of E[v v'].

Matrices are lists of rows, of numbers or of vectors; symmetric ones are kept whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nestor_numba.kernels.values import Number

    type Vector = list[Number]
    type Matrix = list[list[Number]]


class Step(NamedTuple):
    """The result of integrating one innovation out: P_j, h_j (m), and alpha."""

    row: Vector
    term: Vector
    alpha: Number


class Message(NamedTuple):
    """What a node tells its parent.

    Parameters
    ----------
    P, h : Matrix
        Precision (p, p) and linear term (p, m) about the parent.
    form : Matrix
        Added to the quadratic form, (m, m).
    dets : Vector
        Factors of the determinant, each at least 1.
    """

    P: Matrix
    h: Matrix
    form: Matrix
    dets: Vector


def dot(a: Vector, b: Vector) -> Number:
    """Sum of products."""
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + x * y
    return total


def column(A: Matrix, j: int) -> Vector:
    """One column of a matrix."""
    return [row[j] for row in A]


def gram(A: Matrix, B: Matrix) -> Matrix:
    """The product A'B."""
    return [[dot(column(A, i), column(B, j)) for j in range(len(B[0]))] for i in range(len(A[0]))]


def step_full(P: Matrix, h: Matrix, j: int, x: Number) -> tuple[Step, Number, Matrix]:
    """Integrate innovation `j` out of P and h, in place; returns it, 1 / alpha, and what the form loses."""
    p, m = len(P), len(h[0])
    det = 1.0 + x * P[j][j]
    alpha = 1.0 / det
    gain = x * alpha
    row, term = list(P[j]), list(h[j])
    loss = [[gain * term[c] * term[d] for d in range(m)] for c in range(m)]
    new_row, new_term = [alpha * value for value in row], [alpha * value for value in term]
    for k in range(p):
        if k == j:
            continue
        for i in range(k, p):
            if i != j:
                P[k][i] = P[i][k] = P[k][i] - gain * row[k] * row[i]
        h[k] = [h[k][c] - gain * row[k] * term[c] for c in range(m)]
    for k in range(p):
        P[j][k] = P[k][j] = new_row[k]
    h[j] = new_term
    return Step(new_row, new_term, alpha), det, loss


def step_root(V: Matrix, R: Matrix, j: int, x: Number) -> tuple[Step, Number]:
    """Integrate innovation `j` out of |V delta + R|^2, in place; returns it and 1 / alpha."""
    p, m = len(V), len(R[0])
    phi = column(V, j)
    det = 1.0 + x * dot(phi, phi)
    alpha = 1.0 / det
    kappa = x * alpha / (1.0 + alpha.call("sqrt"))
    row = [dot(phi, column(V, k)) for k in range(p)]
    left = [dot(phi, column(R, c)) for c in range(m)]
    for i, value in enumerate(phi):
        factor = kappa * value
        V[i] = [V[i][k] - factor * row[k] for k in range(p)]
        R[i] = [R[i][c] - factor * left[c] for c in range(m)]
    term = [0.0 - alpha * value for value in left]
    return Step([alpha * value for value in row], term, alpha), det


def steps(root: Matrix | None, P: Matrix, h: Matrix, x: Vector) -> list[Step]:
    """Each step of integrating a node out; arguments as for `up`."""
    h = [list(row) for row in h]
    if root is not None:
        V = [list(row) for row in root]
        return [step_root(V, h, j, x[j])[0] for j in range(len(x))]
    P = [list(row) for row in P]
    return [step_full(P, h, j, x[j])[0] for j in range(len(x))]


def up(root: Matrix | None, P: Matrix, h: Matrix, e: Matrix, x: Vector) -> Message:
    """Integrate a node out.

    Parameters
    ----------
    root : Matrix or None
        V of a leaf; then `P` is not looked at.
    P : Matrix
        Precision about the node.
    h : Matrix
        Linear term about the node; of a leaf its remainder R, about the parent.
    e : Matrix
        Shift of the node, (p, m); none of a leaf.
    x : Vector
        Variances of its innovations, (p,).
    """
    p, m = len(x), len(h[0])
    dets: Vector = []
    if root is not None:
        V, R = [list(row) for row in root], [list(row) for row in h]
        for j in range(p):
            dets.append(step_root(V, R, j, x[j])[1])
        linear = [[0.0 - value for value in row] for row in gram(V, R)]
        return Message(gram(V, V), linear, gram(R, R), dets)
    P, h = [list(row) for row in P], [list(row) for row in h]
    form: Matrix | None = None
    for j in range(p):
        _, det, loss = step_full(P, h, j, x[j])
        dets.append(det)
        form = [
            [0.0 - loss[c][d] if form is None else form[c][d] - loss[c][d] for d in range(m)]
            for c in range(m)
        ]
    assert form is not None  # noqa: S101 - there is at least one effect
    T = [[dot(P[k], column(e, c)) for c in range(m)] for k in range(p)]
    for c in range(m):
        for d in range(m):
            left = [T[k][d] - h[k][d] for k in range(p)]
            form[c][d] = form[c][d] + dot(column(e, c), left) - dot(column(e, d), column(h, c))
    return Message(P, [[h[k][c] - T[k][c] for c in range(m)] for k in range(p)], form, dets)


def up_rows(root: Matrix, R: Matrix, x: Vector) -> tuple[Matrix, Matrix, Vector]:
    """Integrate |V delta + R|^2 out; returns the updated V and R, and factors of the determinant."""
    V, R = [list(row) for row in root], [list(row) for row in R]
    dets = [step_root(V, R, j, x[j])[1] for j in range(len(x))]
    return V, R, dets


def merge(W: Matrix, T: Matrix, V: Matrix, R: Matrix) -> Matrix:
    """Rotate rows of (V, R) into upper triangular W and T, in place: their squares are added up.

    Diagonals of W must not be zero. Returns the cross-products of what is left of R, (m, m).
    """
    p, m = len(W), len(T[0])
    form: Matrix | None = None
    for source, remainder in zip(V, R, strict=True):
        row, rest = list(source), list(remainder)
        for j in range(p):
            length = (W[j][j] * W[j][j] + row[j] * row[j]).call("sqrt")
            over = 1.0 / length
            cosine, sine = W[j][j] * over, row[j] * over
            W[j][j] = length
            for k in range(j + 1, p):
                W[j][k], row[k] = cosine * W[j][k] + sine * row[k], cosine * row[k] - sine * W[j][k]
            for c in range(m):
                T[j][c], rest[c] = (
                    cosine * T[j][c] + sine * rest[c],
                    cosine * rest[c] - sine * T[j][c],
                )
        products = [[rest[c] * rest[d] for d in range(m)] for c in range(m)]
        form = products if form is None else _sum(form, products)
    assert form is not None  # noqa: S101 - there is at least one effect
    return form


def _sum(A: Matrix, B: Matrix) -> Matrix:
    return [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(A, B, strict=True)]


def descend(step: Step, j: int, x: Number, terms: Vector, z: Matrix, S: Matrix) -> Number:
    """Add innovation `j` to the mean z, (p, m), and covariance S, in place.

    `terms` are the step's h_j times F. Returns s^2 + P_j'S P_j - P_jj.
    """
    p, m = len(S), len(z[0])
    scores = [terms[r] - dot(step.row, column(z, r)) for r in range(m)]
    z[j] = [z[j][r] + x * scores[r] for r in range(m)]
    work = [dot(step.row, column(S, k)) for k in range(p)]
    spread = dot(work, step.row)
    for k in range(p):
        value = S[j][k] - x * work[k]
        if k == j:
            value = value + x * (step.alpha + x * spread - work[j])
        S[j][k] = S[k][j] = value
    return dot(scores, scores) + spread - step.row[j]


def down(
    root: Matrix | None,
    P: Matrix,
    h: Matrix,
    z: Matrix,
    S: Matrix,
    x: Vector,
    F: Matrix | None,
) -> tuple[Vector, Matrix, Matrix]:
    """Moments of a node from its parent's.

    Parameters
    ----------
    root, P, h, x
        As for `up`.
    z, S : Matrix
        The parent's mean, with an inner node's shift, and covariance.
    F : Matrix or None
        Factor of E[v v'], (m, m); None for one column of 1.

    Returns
    -------
    sums : Vector
        Twice the derivatives by the variances, (p,).
    z, S : Matrix
        Mean and covariance.
    """
    z, S = [list(row) for row in z], [list(row) for row in S]
    found = steps(root, P, h, x)
    sums: Vector = [step.alpha for step in found]
    for j in reversed(range(len(x))):
        term = found[j].term
        if F is not None:
            term = [dot(term, column(F, r)) for r in range(len(F))]
        sums[j] = descend(found[j], j, x[j], term, z, S)
    return sums, z, S


def draw(root: Matrix | None, P: Matrix, h: Vector, z: Vector, x: Vector, noise: Vector) -> Vector:
    """Draw a node's coefficients given its parent's, z as for `down`; h is (p,), times v."""
    z = list(z)
    found = steps(root, P, [[value] for value in h], x)
    for j in reversed(range(len(x))):
        score = found[j].term[0] - dot(found[j].row, z)
        z[j] = z[j] + x[j] * score + (x[j] * found[j].alpha).call("sqrt") * noise[j]
    return z
