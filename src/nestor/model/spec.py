"""The description of a model, validated: it knows no data and no engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from nestor.errors import SpecError, Unsupported, display
from nestor.errors.arguments import LONGEST_FORMULA, pydantic_complaint, shown
from nestor.errors.text import did_you_mean
from nestor.model.families import family
from nestor.model.names import INTERCEPT, RESERVED, underscored
from nestor.model.priors import Prior
from nestor.model.toml import parse_toml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.model.terms import Term

Scale = Literal["level", "parent"]
#: Text, and no bytes that pydantic would read as such.
Text = Annotated[str, Field(strict=True)]
PriorField = Annotated[
    Prior,
    BeforeValidator(Prior.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {"type": ["string", "number"], "examples": ["HalfNormal(2)", "StudentT(3, 0, 2.5)", 4]}
    ),
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, /, **fields: Any) -> None:
        """Validate, with pydantic's complaints as one readable `SpecError`."""
        try:
            super().__init__(**fields)
        except ValidationError as error:
            # A name that is not known first: it is why the one that was meant is missing.
            first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            parts = [str(part)[:60] for part in first["loc"] if part != "[key]"]
            where = ".".join(parts) or "the description"
            if first["type"] == "extra_forbidden":
                meant = did_you_mean(first["loc"][-1], type(self).model_fields)
                raise SpecError(f"model description: unknown key {where!r}.{meant}") from None
            colon = "" if first["type"] == "missing" else ":"
            raise SpecError(
                f"model description, {where}{colon} {pydantic_complaint(first)}"
            ) from None


class Level(_Frozen):
    """One level of the hierarchy.

    Parameters
    ----------
    name : str
        The table's column that labels the level's nodes.
    effects : tuple of str
        The effects that vary between the nodes of this level; other effects inherit the parent's value.
    scale : {"level", "parent"}
        One group-level standard deviation per effect for the whole level, or one for each parent node.
    correlated : bool
        Whether the effects are correlated, ``(x | g)``. Not supported yet.
    """

    name: Text = Field(min_length=1)
    effects: tuple[Text, ...]
    scale: Scale = "level"
    correlated: bool = Field(default=False, strict=True)

    def __repr__(self) -> str:
        fields = (f"{name}={shown(getattr(self, name))}" for name in type(self).model_fields)
        return f"Level({', '.join(fields)})"

    __str__ = __repr__


class ModelSpec(_Frozen):
    """A nested hierarchical model, independent of data and engine.

    Parameters
    ----------
    outcome : str
        The outcome's term: a column, or a transform of one.
    levels : tuple of Level
        From the top down; at least one.
    effects : tuple of str
        Terms whose coefficients vary at one level or more; ``"Intercept"`` is the constant.
    zero_mean : tuple of str
        Effects whose population coefficient is fixed at zero (they stand in the group part only).
    covariates : tuple of str
        Terms whose coefficients do not vary (``gamma``).
    family : str
        A name from `nestor.model.families.FAMILIES`.
    offset, weights : str or None
        Columns: added to the linear predictor; scaling the precision.
    priors : dict of str to Prior
        Keyed by address: ``beta``, ``beta[month]``, ``gamma``, ``gamma[z]``, ``tau``, ``tau[month]``,
        ``tau_state``, ``tau_state[month]``, ``sigma``, ``nu``. The most specific address wins, a level's
        (``tau_state``) before an effect's (``tau[month]``). What no address covers gets an automatic
        prior from the data. A bare number fixes ``sigma`` or ``nu``.

    Raises
    ------
    SpecError
        If the description contradicts itself.
    Unsupported
        For correlated effects.
    """

    __slots__ = ("_names_constant",)  # no field, so that comparisons and files ignore it

    outcome: Text = Field(min_length=1)
    levels: tuple[Level, ...] = Field(min_length=1)
    effects: tuple[Text, ...] = Field(min_length=1)
    zero_mean: tuple[Text, ...] = ()
    covariates: tuple[Text, ...] = ()
    family: Text = "gaussian"
    offset: Text | None = None
    weights: Text | None = None
    priors: dict[Text, PriorField] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        family(self.family)
        _check_effects(self)
        _check_order(self)
        _check_terms(self)
        _check_names(self)
        for address, prior in self.priors.items():
            _check_prior(self, address, prior)
        return self

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels, from the top down."""
        return tuple(level.name for level in self.levels)

    def __repr__(self) -> str:
        given = f", {len(self.priors)} priors given" if self.priors else ""
        formula = shown(self.to_formula(), width=LONGEST_FORMULA)
        return f"ModelSpec({formula}, family={self.family!r}{given})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return display.html(self)

    @classmethod
    def from_formula(
        cls,
        formula: str,
        *,
        family: str = "gaussian",
        priors: Mapping[str, Prior | str | float] | None = None,
        scale: Scale | Mapping[str, Scale] = "level",
        offset: str | None = None,
        weights: str | None = None,
    ) -> Self:
        """Describe a model by an lme4-style formula.

        Parameters
        ----------
        formula : str
            For example ``"income ~ month + (month || degree/state/county)"``.
        family : str
            Outcome family.
        priors : mapping of address to prior, optional
            See the class; text such as ``"HalfNormal(2)"`` is read.
        scale : {"level", "parent"} or mapping of level to one of these
            Whether standard deviations belong to a level or to each parent node.
        offset, weights : str, optional
            Columns.

        Raises
        ------
        SpecError
            If the formula cannot be read or is not one nested hierarchy.
        """
        from nestor.model.formula import parse_formula

        parsed = parse_formula(formula)
        varying = {effect for level in parsed.levels for effect in level.effects}
        mentioned = [*parsed.population, *(e for level in parsed.levels for e in level.effects)]
        effects = tuple(dict.fromkeys(e for e in mentioned if e in varying))
        if INTERCEPT in effects:
            effects = (INTERCEPT, *(e for e in effects if e != INTERCEPT))
        scales = _scales(scale, [level.name for level in parsed.levels])
        fields: dict[str, Any] = {
            "outcome": parsed.outcome,
            "levels": tuple(
                Level(
                    name=level.name,
                    effects=tuple(e for e in effects if e in level.effects),
                    scale=scales[level.name],
                    correlated=level.correlated,
                )
                for level in parsed.levels
            ),
            "effects": effects,
            "zero_mean": tuple(e for e in effects if e not in parsed.population),
            "covariates": tuple(e for e in parsed.population if e not in varying),
            "family": family,
            "offset": _only_one(parsed.offset, offset),
            "weights": weights,
            "priors": {} if priors is None else priors,
        }
        new = cls(**fields)
        if parsed.names_constant:
            object.__setattr__(new, "_names_constant", True)
        return new

    @property
    def names_constant(self) -> bool:
        """Whether its formula had the bare word Intercept, which may also be a column's name.

        That is no part of the model: equal models may differ in it, and copies and files do not have it.
        """
        return getattr(self, "_names_constant", False)

    def to_formula(self) -> str:
        """Return the formula of this model; family, priors, scales and weights are not part of it."""
        from nestor.model.formula import ParsedFormula, ParsedLevel, format_formula

        population = [e for e in self.effects if e not in self.zero_mean] + list(self.covariates)
        if INTERCEPT in population:
            population = [INTERCEPT, *(e for e in population if e != INTERCEPT)]
        return format_formula(
            ParsedFormula(
                outcome=self.outcome,
                population=tuple(population),
                levels=tuple(
                    ParsedLevel(level.name, level.effects, level.correlated)
                    for level in self.levels
                ),
                offset=self.offset,
                text="",
            )
        )

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a description from TOML: the fields of this class, or ``formula`` and its arguments.

        Raises
        ------
        SpecError
            If the text is not TOML or not a model.
        """
        if _names_file(text):
            raise SpecError(
                f"from_toml takes the text of a model description, and {shown(str(text))} is the name of a "
                "file: give pathlib.Path(...).read_text(encoding='utf-8')."
            )
        fields = parse_toml(text, "model description")
        if "formula" not in fields:
            if unknown := sorted(set(fields) - set(cls.model_fields)):
                meant = did_you_mean(unknown[0], ["formula", "scale", *cls.model_fields])
                raise SpecError(f"model description: unknown key {shown(unknown[0])}.{meant}")
            return cls(**fields)
        allowed = {"formula", "family", "priors", "scale", "offset", "weights"}
        if unknown := sorted(set(fields) - allowed):
            meant = did_you_mean(unknown[0], sorted(allowed))
            raise SpecError(f"beside 'formula' the description has unknown keys: {unknown}.{meant}")
        return cls.from_formula(fields.pop("formula"), **fields)

    def to_toml(self) -> str:
        """Return the description as TOML text that `from_toml` reads back as an equal spec."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def with_priors(self, priors: Mapping[str, Prior | str | float]) -> Self:
        """Return the same model with `priors` added to, or put in place of, its own."""
        merged: dict[str, Any] = {**self.priors, **priors}
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        new = type(self)(**{**fields, "priors": merged})
        if self.names_constant:
            object.__setattr__(new, "_names_constant", True)
        return new

    def prior_for(self, variable: str, effect: str | None = None) -> Prior | None:
        """Return the prior that an address in `priors` gives to a variable, or None.

        Parameters
        ----------
        variable : str
            ``beta``, ``gamma``, ``tau_<level>``, ``sigma`` or ``nu``.
        effect : str, optional
            The effect or covariate, for variables that have several.
        """
        for address in _addresses(variable, effect):
            if address in self.priors:
                return self.priors[address]
        return None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of what `ModelSpec.from_toml` reads: fields, or a formula."""
    fields = ModelSpec.model_json_schema()
    definitions = fields.pop("$defs")
    scale = {"enum": ["level", "parent"]}
    properties = {
        "formula": {"type": "string"},
        "scale": {"anyOf": [scale, {"type": "object", "additionalProperties": scale}]},
    }
    shared = ("family", "offset", "weights", "priors")
    formula = {
        "title": "Formula and its arguments",
        "type": "object",
        "required": ["formula"],
        "properties": properties | {name: fields["properties"][name] for name in shared},
        "additionalProperties": False,
    }
    return {"title": "nestor model", "anyOf": [fields, formula], "$defs": definitions}


def _names_file(text: object) -> bool:
    """Whether something is a path, or one line that ends as names of TOML files do."""
    if isinstance(text, str):
        one_line = len(text.splitlines()) == 1 and not set("=[#") & set(text)
        return one_line and text.strip().lower().endswith(".toml")
    return isinstance(text, os.PathLike)


def _only_one(in_formula: str | None, argument: str | None) -> str | None:
    if in_formula is not None and argument is not None and in_formula != argument:
        raise SpecError(
            f"the offset is given twice: {in_formula!r} in the formula and {argument!r} beside it."
        )
    return in_formula if in_formula is not None else argument


def _scales(scale: Scale | Mapping[str, Scale], names: Sequence[str]) -> dict[str, Scale]:
    if isinstance(scale, str):
        return dict.fromkeys(names, scale)
    if not isinstance(scale, Mapping):
        raise SpecError(
            f"scale is 'level', 'parent' or one of them for each level, not {shown(scale)}."
        )
    if unknown := [name for name in scale if name not in names]:
        meant = did_you_mean(unknown[0], names)
        raise SpecError(
            f"scale names unknown levels {unknown}; the levels are {list(names)}.{meant}"
        )
    return {name: scale.get(name, "level") for name in names}


# --- contradictions that a description must not have ------------------------------------------


def _check_effects(spec: ModelSpec) -> None:
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


def _check_order(spec: ModelSpec) -> None:
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


def _check_terms(spec: ModelSpec) -> None:
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
    """Explain that correlated effects are not supported, and write the group terms without them."""
    from nestor.model.formula import ParsedLevel
    from nestor.model.formula.parts import bars_by_level

    given = [ParsedLevel(level.name, level.effects, level.correlated) for level in spec.levels]
    single = [ParsedLevel(level.name, level.effects, False) for level in spec.levels]
    alike = set(bars_by_level(single))
    found = [bar for bar in bars_by_level(given) if bar not in alike]
    return Unsupported(
        f"correlated effects, {' and '.join(found)}, are not supported yet; for independent ones "
        f"write {' + '.join(bars_by_level(single))}."
    )


def _check_names(spec: ModelSpec) -> None:
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


# --- addresses of priors: what ``tau_state[month]`` covers ------------------------------------


def _addresses(variable: str, effect: str | None) -> list[str]:
    """Addresses that cover a variable's entry, the most specific first."""
    names = [variable]
    if variable.startswith("tau_"):
        names.append("tau")
    found = []
    for name in names:
        if effect is not None:
            found.append(f"{name}[{effect}]")
        found.append(name)
    return found


def known_addresses(spec: ModelSpec) -> list[str]:
    """Every address that covers something in this model."""
    known = [f"beta[{e}]" for e in spec.effects if e not in spec.zero_mean]
    known = ["beta", *known] if known else []
    if spec.covariates:
        known += ["gamma", *(f"gamma[{c}]" for c in spec.covariates)]
    known += ["tau", *(f"tau[{e}]" for e in spec.effects)]
    for level in spec.levels:
        if level.effects:
            known += [f"tau_{level.name}", *(f"tau_{level.name}[{e}]" for e in level.effects)]
    return known + list(family(spec.family).parameters)


def _check_prior(spec: ModelSpec, address: str, prior: Prior) -> None:
    """Refuse a prior of something that the model lacks, or with the wrong support."""
    known = known_addresses(spec)
    if address not in known:
        meant = did_you_mean(address, known)
        raise SpecError(
            f"no prior can be set on {address!r}.{meant} This model has: {', '.join(known)}."
        )
    if prior.is_fixed and address not in family(spec.family).parameters:
        raise SpecError(f"{address} cannot be fixed at {prior.value:g}: give it a distribution.")
    if prior.is_fixed and prior.value <= 0:
        raise SpecError(f"{address} must be greater than 0, not {prior.value:g}.")
    scale_like = not address.startswith(("beta", "gamma"))
    if scale_like and not prior.is_positive:
        raise SpecError(f"the prior of {address}, {prior}, must lie on positive numbers.")
