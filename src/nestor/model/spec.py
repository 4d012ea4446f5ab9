"""WHAT is the posterior: a validated description of the model that knows no data."""

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

from nestor.errors import SpecError
from nestor.errors.arguments import LONGEST_FORMULA, pydantic_complaint, shown
from nestor.errors.text import did_you_mean
from nestor.model.addresses import addresses, check_prior
from nestor.model.families import family as _family
from nestor.model.names import INTERCEPT
from nestor.model.priors import Prior
from nestor.model.spec_checks import check_effects, check_names, check_order, check_terms
from nestor.model.toml import parse_toml

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        The effects that vary between the nodes of this level; the others inherit the parent's value.
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
    """A nested hierarchical model, whatever the data and whoever computes it.

    Parameters
    ----------
    outcome : str
        The outcome's term: a column, or a transform of one.
    levels : tuple of Level
        From the top down; at least one.
    effects : tuple of str
        Terms whose coefficients vary at one level or more; ``"Intercept"`` is the constant.
    zero_mean : tuple of str
        Those effects whose population coefficient is fixed at zero (they stand in the group part only).
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

    __slots__ = ("_names_constant",)  # beside the fields, of which comparisons and files are made

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
        _family(self.family)
        check_effects(self)
        check_order(self)
        check_terms(self)
        check_names(self)
        for address, prior in self.priors.items():
            check_prior(self, address, prior)
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
        from nestor.views.terminal.html import spec_html

        return spec_html(self)

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
        """Whether it was read from a formula with the bare word Intercept, which may be a column's name, too.

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
        for address in addresses(variable, effect):
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
