"""Notes before sampling: what the data cannot identify, and what will make sampling hard.

A note is not an error: the posterior is proper and can be sampled. It says where the priors alone determine
a parameter, or where another model was probably meant. Improper posteriors: see `nestor.data.propriety`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nestor.data.marginalization import not_marginalizable
from nestor.data.propriety import fits_exactly
from nestor.model.families import FAMILIES, PLANNED
from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.model.spec import ModelSpec
    from nestor.stats.arrays import FloatArray


#: Rows that are checked first, evenly spaced: they rule out most notes quickly.
_FIRST = 4096
_CHUNK = 2**16
#: Largest residual of a collinear column, relative to its spread: single precision, in which tables are
#: often stored, with a digit to spare.
_COLLINEAR = 1e-6
#: Part of sigma^2 that scales of the last level may miss of taking all of it.
_CONFOUNDED = 1e-9
#: Means of so many standard deviations make a sampler of coefficients slow: centred coefficients of a small
#: tree then have a tenth of the effective draws that they have about a mean of zero.
_FAR = 10.0


def problem_notes(problem: Problem) -> tuple[str, ...]:
    """Return one sentence for each parameter or sum that the data do not identify, or hardly."""
    with np.errstate(
        over="ignore", under="ignore", invalid="ignore"
    ):  # a note that cannot be computed is left out
        about = (_binary_outcome, _sigma_confounded, _collinear, _constant)
        return tuple(note for of in about for note in of(problem))


# --- the outcome ------------------------------------------------------------------------------


def _binary_outcome(problem: Problem) -> Iterator[str]:
    values = problem.two_values
    if values is None or FAMILIES[problem.spec.family].support != "real":
        return
    if problem.n_rows == 2:  # any two rows have two values
        if not problem.priors.family["sigma"].is_fixed and fits_exactly(problem):
            yield (
                "the model fits both rows exactly, so that the data tell nothing of sigma beside the other "
                "scales, and its prior tells all. Use more rows, or give sigma its value, if it is known."
            )
        return
    low, high = (f"{value:g}" for value in values)
    meant = "bernoulli"
    family = f"the family {meant}"
    if meant not in FAMILIES and meant in PLANNED:
        family += f" is meant for them, which cannot be fitted yet: there are {', '.join(FAMILIES)}"
    else:
        family += " is meant for them"
    yield (
        f"the outcome {problem.spec.outcome!r} has two values, {low} and {high}, and is taken as "
        f"{problem.spec.family}: a linear probability model, whose fitted values may lie outside of them "
        f"and whose errors cannot be of one size. For two values {family}."
    )


def two_values(y: FloatArray) -> tuple[float, float] | None:
    """The two values of an outcome, (N,); None if it has more, or only one."""
    low, high = float(y.min()), float(y.max())
    if low == high or not ((y == low) | (y == high)).all():
        return None
    return low, high


# --- scales of the last level, and sigma ------------------------------------------------------


def _sigma_confounded(problem: Problem) -> Iterator[str]:
    """Whether tau^2 of the last level and sigma^2 have the same effect on the covariance of all leaves.

    A leaf's rows have the covariance X diag(tau^2) X' + sigma^2 / W, so that a of the same size in all leaves
    with X diag(a) X' = 1 / W make tau^2 + s a and sigma^2 - s the same model for every s.
    """
    if problem.priors.family["sigma"].is_fixed:
        return
    level = problem.levels[-1]
    share = _confounding_vector(problem, level.varying)
    if share is None:
        return
    effects = [problem.effects[j] for j, a in zip(level.varying, share, strict=True) if a]
    names = " and ".join(f"tau_{level.name}[{effect}]" for effect in effects)
    rows = "one row" if problem.index.n_leaves == problem.n_rows else "too few rows"
    how = "cannot" if problem.spec.family == "gaussian" else "can hardly"
    do = f"leave {level.name} out" if len(problem.levels) > 1 else "use a level with more rows"
    yield (
        f"every {level.name} has {rows}: {names} and sigma {how} be told apart by the data, only "
        f"by their priors. Give sigma its value, if it is known, or {do}."
    )


def _confounding_vector(problem: Problem, varying: NDArray[np.intp]) -> FloatArray | None:
    """Solve for the vector a of `_sigma_confounded`, zero for effects not needed; None if there is none."""
    gram, right, total = np.zeros((len(varying),) * 2), np.zeros(len(varying)), 0.0
    for products, wanted in _products(problem, varying):
        gram += products.T @ products
        right += products.T @ wanted
        total += float(wanted @ wanted)
    if total == 0.0:
        return None
    scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
    a, *_ = np.linalg.lstsq(gram / np.outer(scale, scale), right / scale, rcond=None)
    explained = float(a @ (right / scale))
    if total - explained > _CONFOUNDED * total:
        return None
    return np.where(np.abs(a) > np.sqrt(_CONFOUNDED) * np.abs(a).max(), a / scale, 0.0)


def _products(
    problem: Problem, varying: NDArray[np.intp]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Entries of each leaf's x_j x_j', a column for each effect, and of W^-1 beside them."""
    most = int(problem.index.rows_per_leaf.max())
    if not problem.has_rows:
        if most == 1:  # a leaf's gram then is w x x'
            gram = np.einsum("nij,nij->nj", problem.statistics.root, problem.statistics.root)
            yield gram[:, varying], np.ones(len(gram))
        return
    if most > len(varying):
        return  # more rows than effects: something of sigma is left
    rows = problem.rows
    root = np.ones(problem.n_rows) if rows.weights is None else np.sqrt(rows.weights)
    X = rows.X[:, varying] * root[:, None]
    X /= np.where(
        (largest := np.abs(X).max(axis=0)) > 0, largest, 1.0
    )  # so that no square overflows
    for apart in range(most):
        same = np.flatnonzero(rows.leaf[apart:] == rows.leaf[: problem.n_rows - apart])
        yield X[same] * X[same + apart], np.full(len(same), float(apart == 0))


# --- predictors -------------------------------------------------------------------------------


class Spread(NamedTuple):
    """A predictor's mean and standard deviation."""

    term: str
    mean: float
    sd: float


def _population(problem: Problem) -> list[int]:
    """Positions, among effects and then covariates, of terms with a population coefficient."""
    p = len(problem.effects)
    return [*np.flatnonzero(problem.population_mask), *range(p, p + len(problem.spec.covariates))]


def _names(problem: Problem) -> tuple[str, ...]:
    return (*problem.effects, *problem.spec.covariates)


def _triangle(problem: Problem, some: bool = False) -> FloatArray:
    """R of the columns (1, effects, covariates) of all rows, or of some: R'R are their cross-products."""
    if not problem.has_rows:
        return _triangle_of_statistics(problem)
    rows, N = problem.rows, problem.n_rows
    chosen = slice(None, None, max(1, N // _FIRST)) if some else slice(None)
    X, Z = rows.X[chosen], rows.Z[chosen]
    R = np.zeros((0, 1 + X.shape[1] + Z.shape[1]))
    for first in range(0, len(X), _CHUNK):
        here = slice(first, first + _CHUNK)
        ones = np.ones((len(X[here]), 1))
        R = np.linalg.qr(np.vstack([R, np.hstack([ones, X[here], Z[here]])]), mode="r")
    return R


def _triangle_of_statistics(problem: Problem) -> FloatArray:
    """As `_triangle`, for rows not in memory: weighted, and with the constant only if it is an effect."""
    found = problem.statistics
    p, c = found.n_effects, found.n_covariates
    values, vectors = np.linalg.eigh(found.residual[1:, 1:])
    rest = np.zeros((c, p + c))
    rest[:, p:] = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    leaves = np.concatenate([found.root, found.root @ found.fit[:, :, 1:]], axis=2)
    table = np.vstack([leaves.reshape(-1, p + c), rest])
    names = _names(problem)
    one = table[:, [names.index(INTERCEPT)]] if INTERCEPT in names else np.zeros((len(table), 1))
    return np.asarray(np.linalg.qr(np.hstack([one, table]), mode="r"))


def _padded_square(R: FloatArray) -> FloatArray:
    """R with as many rows as columns."""
    return np.vstack([R, np.zeros((max(0, R.shape[1] - len(R)), R.shape[1]))])


def spreads(problem: Problem) -> tuple[Spread, ...]:
    """Means and standard deviations of the predictors; none without rows and without an intercept."""
    names = _names(problem)
    if problem.has_rows:
        rows = problem.rows
        columns = [*rows.X.T, *rows.Z.T]
        with np.errstate(over="ignore", invalid="ignore"):
            pairs = [(float(column.mean()), float(column.std())) for column in columns]
    else:
        if INTERCEPT not in names:
            return ()
        R = _padded_square(_triangle_of_statistics(problem))
        root = abs(R[0, 0])
        means = np.sign(R[0, 0]) * R[0, 1:] / root
        pairs = [
            (float(mean), float(np.linalg.norm(R[1:, j])) / root)
            for j, mean in enumerate(means, start=1)
        ]
    return tuple(
        Spread(name, *pair) for name, pair in zip(names, pairs, strict=True) if name != INTERCEPT
    )


def _collinear(problem: Problem) -> Iterator[str]:
    """Predictors of the population part that are linear combinations of others."""
    if not _combinations(problem, _triangle(problem, some=True)):
        return
    for whole, parts in _combinations(problem, _triangle(problem)):
        if len(parts) == 1:
            what = f"{parts[0]} and {whole} are collinear: each is a linear function of the other"
        else:
            what = f"{', '.join(parts)} and {whole} are collinear: {whole} is a combination of the others"
        yield (
            f"{what}, so that the data tell a sum of their effects only, and what each has of it is told by "
            "its prior. Leave one of them out."
        )


def _combinations(problem: Problem, R: FloatArray) -> list[tuple[str, list[str]]]:
    """Each predictor that is a combination of earlier ones, with the names of these."""
    names = _names(problem)
    chosen = [j for j in _population(problem) if names[j] != INTERCEPT]
    has_intercept = any(names[j] == INTERCEPT for j in _population(problem))
    R = _padded_square(R)
    # Below its first row all columns are centred.
    columns = R[1:] if has_intercept else R
    columns = columns[:, [1 + j for j in chosen]]
    norms = np.linalg.norm(columns, axis=0)
    columns = columns / np.where(norms > 0, norms, 1.0)
    found: list[tuple[str, list[str]]] = []
    before: list[int] = []
    for i, j in enumerate(chosen):
        beta, *_ = np.linalg.lstsq(columns[:, before], columns[:, i], rcond=None)
        left = np.linalg.norm(columns[:, i] - columns[:, before] @ beta)
        if before and left <= _COLLINEAR:
            parts = [
                names[chosen[b]]
                for b, share in zip(before, beta, strict=True)
                if abs(share) > _COLLINEAR
            ]
            found.append((names[j], parts))
        else:
            before.append(i)
    return found


def _constant(problem: Problem) -> Iterator[str]:
    """Predictors that are constant within nodes between which their effects and the intercept vary."""
    one_row = problem.index.n_leaves == problem.n_rows
    for j, effect in enumerate(problem.effects):
        if effect == INTERCEPT:
            continue
        where = [k for k in _beside_intercept(problem, j) if _constant_within(problem, k, j)]
        if not where:
            continue
        without = _spec_without(problem.spec, where, effect).to_formula()
        names = " and every ".join(problem.levels[k].name for k in where)
        same = "has one row" if one_row and len(where) == 1 else f"has one value of {effect}"
        yield (
            f"every {names} {same}, so that the data do not tell how the effect of {effect} varies there, "
            f"beside the intercept. Without that: {without}."
        )


def _beside_intercept(problem: Problem, j: int) -> list[int]:
    """Levels at which effect `j` varies, and the intercept too."""
    one = problem.effects.index(INTERCEPT) if INTERCEPT in problem.effects else -1
    levels = enumerate(problem.levels)
    return [k for k, level in levels if j in level.varying and one in level.varying]


def _constant_within(problem: Problem, k: int, j: int) -> bool:
    """Whether effect `j` has one value within each node of level `k`."""
    names = problem.index.names
    node = problem.index.ancestor(names[k], of=names[-1])
    if not problem.has_rows:
        root, one = problem.statistics.root, problem.effects.index(INTERCEPT)
        if np.delete(root[:, :, j], one, axis=1).any():
            return False
        mean = root[:, one, j] / root[:, one, one]
        starts = np.searchsorted(node, np.arange(problem.levels[k].n))
        return bool((np.maximum.reduceat(mean, starts) == np.minimum.reduceat(mean, starts)).all())
    x = problem.rows.X[:, j]
    leaves = np.searchsorted(node, np.arange(problem.levels[k].n))
    starts = problem.index.starts[leaves]
    some = int(starts[_FIRST]) if len(starts) > _FIRST else len(x)
    for end, first in ((some, starts[:_FIRST]), (len(x), starts)):
        low, high = np.minimum.reduceat(x[:end], first), np.maximum.reduceat(x[:end], first)
        if (low != high).any():
            return False
    return True


def _spec_without(spec: ModelSpec, where: Sequence[int], effect: str) -> ModelSpec:
    """The model in which an effect does not vary at some levels, with automatic priors."""
    from nestor.model.spec import Level, ModelSpec

    varying = [
        [e for e in level.effects if e != effect or k not in where]
        for k, level in enumerate(spec.levels)
    ]
    first = {e: k for k, level in reversed([*enumerate(varying, 1)]) for e in level}
    effects = [e for e in spec.effects if e in first]
    # Of mean zero last, from the level down at which they first vary: as a formula would have them.
    effects.sort(key=lambda e: (e != INTERCEPT, first[e] if e in spec.zero_mean else 0))
    covariates = list(spec.covariates)
    if effect not in first and effect not in spec.zero_mean:
        covariates.append(effect)
    return ModelSpec(
        outcome=spec.outcome,
        levels=tuple(
            Level(name=level.name, effects=tuple(e for e in effects if e in own))
            for level, own in zip(spec.levels, varying, strict=True)
        ),
        effects=tuple(effects),
        zero_mean=tuple(e for e in effects if e in spec.zero_mean),
        covariates=tuple(covariates),
        offset=spec.offset,
    )


# --- before and after sampling ----------------------------------------------------------------


def sampling_notes(problem: Problem, formulation: Formulation) -> tuple[str, ...]:
    """Return one sentence for each thing that will make sampling hard under a formulation."""
    if formulation.is_marginalized:
        return ()
    varying = {e for j, e in enumerate(problem.effects) if _beside_intercept(problem, j)}
    far = [one for one in _far_from_zero(problem) if one.term in varying]
    return (_far_sentence(problem, far),) if far else ()


def gate_hint(problem: Problem, formulation: Formulation) -> str:
    """Suggest why draws failed the gates, and what to do; empty if nothing is known.

    Parameters
    ----------
    problem : Problem
        What was sampled.
    formulation : Formulation
        How.
    """
    if formulation.is_marginalized:
        return ""
    far = _far_from_zero(problem)
    return _far_sentence(problem, far) if far else ""


def _far_from_zero(problem: Problem) -> list[Spread]:
    if INTERCEPT not in _names(problem):
        return []
    return [one for one in spreads(problem) if abs(one.mean) > _FAR * one.sd]


def _far_sentence(problem: Problem, far: Sequence[Spread]) -> str:
    what = " and ".join(f"{one.term} (mean {one.mean:.5g}, sd {one.sd:.3g})" for one in far)
    verb = "is" if len(far) == 1 else "are"
    if problem.has_rows:
        do = f"write {' and '.join(_centered(one.term) for one in far)}"
    else:
        do = f"subtract {'its mean' if len(far) == 1 else 'their means'} in the file"
    if not_marginalizable(problem) is None:
        do += ", or sample with marginalized coefficients"
    return (
        f"{what} {verb} far from zero, so that sampled intercepts and slopes depend on each other almost "
        f"wholly, and a sampler moves slowly: {do}"
    )


def _centered(text: str) -> str:
    from nestor.model.terms import Term, Transform, parse_term

    term = parse_term(text)
    factors = [Transform("center", factor) for factor in term.factors]
    return Term(tuple(factors)).name
