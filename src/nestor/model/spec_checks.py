"""What a description must not say: contradictions, names that collide, terms that nobody can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.errors import SpecError, Unsupported
from nestor.errors.arguments import shown
from nestor.errors.text import did_you_mean
from nestor.model.families import family
from nestor.model.names import INTERCEPT, RESERVED, underscored

if TYPE_CHECKING:
    from nestor.model.spec import Level, ModelSpec
    from nestor.model.terms import Term


def check_effects(spec: ModelSpec) -> None:
    """Refuse effects that contradict each other or the levels."""
    for what, terms in (("effects", spec.effects), ("covariates", spec.covariates)):
        if repeated := sorted({t for t in terms if terms.count(t) > 1}):
            raise SpecError(f"{what} are given twice: {repeated}.")
    if both := sorted(set(spec.effects) & set(spec.covariates)):
        raise SpecError(f"{both} cannot both vary by group and be a covariate that does not.")
    if unknown := [e for e in spec.zero_mean if e not in spec.effects]:
        raise SpecError(f"zero_mean names {unknown}, which are not among the effects.")
    for level in spec.levels:
        _check_level(spec, level)
    varying = {effect for level in spec.levels for effect in level.effects}
    if idle := [e for e in spec.effects if e not in varying]:
        raise SpecError(f"{idle} vary at no level: make them covariates.")
    if not spec.levels[-1].effects:
        raise SpecError(
            f"nothing varies at the last level, {spec.levels[-1].name!r}: leave it out."
        )


def check_order(spec: ModelSpec) -> None:
    """Refuse orders that no formula gives: one model has one description."""
    first = {e: k for k, level in reversed([*enumerate(spec.levels, 1)]) for e in level.effects}
    effects = sorted(
        spec.effects, key=lambda e: (e != INTERCEPT, first[e] if e in spec.zero_mean else 0)
    )
    wanted = {
        "effects": (spec.effects, tuple(effects)),
        "zero_mean": (spec.zero_mean, tuple(e for e in effects if e in spec.zero_mean)),
        "covariates": (
            spec.covariates,
            tuple(sorted(spec.covariates, key=lambda c: c != INTERCEPT)),
        ),
    }
    for what, (found, right) in wanted.items():
        if found != right:
            raise SpecError(
                f"{what} must stand as {list(right)}, not {list(found)}: the intercept first, and "
                "effects of mean zero last, from the level down at which they first vary."
            )


def check_terms(spec: ModelSpec) -> None:
    """Refuse terms that are not canonical text, and an outcome that explains itself."""
    outcome = _term("outcome", spec.outcome)
    if len(outcome.factors) != 1:
        raise SpecError(f"the outcome is one column or a transform of one, not {spec.outcome!r}.")
    column = outcome.columns[0]
    for text in (*spec.effects, *spec.covariates):
        if column in _term("term", text).columns:
            raise SpecError(f"the outcome {column!r} is also a predictor, in {text}.")
    if column in spec.level_names:
        raise SpecError(f"column {column!r} is both the outcome and a level.")
    for what, name in (("offset", spec.offset), ("weights", spec.weights)):
        if name is not None and (name in ("", column) or "`" in name):
            raise SpecError(f"{name!r} cannot be the column of {what}.")


def _term(what: str, text: str) -> Term:
    from nestor.model.terms import parse_term

    try:
        term = parse_term(text)
    except SpecError as error:
        raise SpecError(f"{what} {shown(text)}: {error}") from None
    if term.name != text:
        raise SpecError(f"{what} {shown(text)} is written {shown(term.name)}.")
    return term


def _check_level(spec: ModelSpec, level: Level) -> None:
    if unknown := [e for e in level.effects if e not in spec.effects]:
        meant = did_you_mean(unknown[0], spec.effects)
        raise SpecError(f"level {level.name!r} names unknown effects {unknown}.{meant}")
    if list(level.effects) != [e for e in spec.effects if e in level.effects]:
        raise SpecError(
            f"level {level.name!r} lists its effects as {list(level.effects)}; "
            f"they must stand once each and in the model's order, {list(spec.effects)}."
        )
    if level.correlated and len(level.effects) < 2:
        raise SpecError(f"level {level.name!r} has too few effects to be correlated.")
    if level.correlated:
        raise _correlated(spec)


def _correlated(spec: ModelSpec) -> Unsupported:
    """Explain that correlated effects are not supported, with all group terms as they may be written."""
    from nestor.model.formula import ParsedLevel
    from nestor.model.formula.bars import bars_by_level

    given = [ParsedLevel(level.name, level.effects, level.correlated) for level in spec.levels]
    single = [ParsedLevel(level.name, level.effects, False) for level in spec.levels]
    alike = set(bars_by_level(single))
    found = [bar for bar in bars_by_level(given) if bar not in alike]
    return Unsupported(
        f"correlated effects, {' and '.join(found)}, are not supported yet; for independent ones "
        f"write {' + '.join(bars_by_level(single))}."
    )


def check_names(spec: ModelSpec) -> None:
    """Refuse names that would collide with a dimension, coordinate or variable of the draws."""
    taken = dict.fromkeys((*RESERVED, *family(spec.family).parameters), "a reserved name")
    for k, name in enumerate(spec.level_names):
        if name == "." or set("/`\0") & set(name):
            raise SpecError(
                f"level {name!r}: a level's name may not contain '/', a backquote or a null "
                "character, or be '.'. Rename the column."
            )
        uses = {name: f"level {name!r}", f"{name}_label": f"labels of level {name!r}"}
        uses |= {f"{p}_{name}": f"variable {p}_{name}" for p in ("beta", "tau", "corr", "effect")}
        uses |= {key: f"{key} of the data" for key in (f"parent_of_{name}", f"{name}_of_row")}
        uses |= {
            key: f"prior {key}" for key in (f"tau_{name}[{e}]" for e in spec.levels[k].effects)
        }
        uses |= {f"{a}_of_{name}": f"coordinate {a}_of_{name}" for a in spec.level_names[:k]}
        for used, what in uses.items():
            key = underscored(used)
            if key in taken:
                raise SpecError(
                    f"level {name!r} cannot be used: its name {key!r} is taken by {taken[key]}. "
                    "Rename the column."
                )
            taken[key] = what
    if spec.outcome in ("row", f"{spec.level_names[-1]}_of_row"):
        raise SpecError(f"the outcome cannot be called {spec.outcome!r}: rename the column.")
