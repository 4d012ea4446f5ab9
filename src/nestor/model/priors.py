"""Prior families, each defined once by a SciPy distribution that every backend is checked against."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from nestor.errors import SpecError
from nestor.errors.arguments import is_number, shown
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy.stats import rv_continuous

Support = Literal["real", "positive", "interval"]


@dataclass(frozen=True)
class PriorFamily:
    """A family of prior distributions.

    Parameters
    ----------
    name : str
        The name as users write it.
    parameters : tuple of str
        Positional parameters, in order.
    positive : tuple of str
        Those parameters that must be greater than zero.
    support : {"real", "positive", "interval"}
        Where the density is positive; "interval" is bounded by the two parameters.
    scipy : callable
        Parameters to a frozen SciPy distribution: the definition of the density.
    """

    name: str
    parameters: tuple[str, ...]
    positive: tuple[str, ...]
    support: Support
    scipy: Callable[..., Any]


def _stats(name: str) -> rv_continuous:
    from scipy import stats

    return getattr(stats, name)


def _named(name: str) -> Callable[..., Any]:
    """Return a maker of frozen distributions that imports SciPy only when it is called."""

    def frozen(*args: float) -> Any:
        return _stats(name)(*args)

    return frozen


@lru_cache(maxsize=1)
def _half_student_t() -> rv_continuous:
    """Student's t folded onto the positive numbers, which SciPy lacks.

    Its density is twice the symmetric one (Gelman 2006, Bayesian Analysis 1(3)), and zero at zero itself:
    the support is open.
    """
    import numpy as np
    from scipy import special, stats

    class HalfStudentT(stats.rv_continuous):  # type: ignore[misc] # SciPy has no types
        def _logpdf(self, x: Any, nu: Any) -> Any:
            return np.where(x <= 0, -np.inf, math.log(2.0) + stats.t._logpdf(x, nu))  # noqa: SLF001

        def _pdf(self, x: Any, nu: Any) -> Any:
            return np.exp(self._logpdf(x, nu))

        def _cdf(self, x: Any, nu: Any) -> Any:
            return 1.0 - 2.0 * stats.t.sf(x, nu)

        def _sf(self, x: Any, nu: Any) -> Any:
            return 2.0 * stats.t.sf(x, nu)

        def _ppf(self, q: Any, nu: Any) -> Any:
            return stats.t.ppf((1.0 + q) / 2.0, nu)

        def _isf(self, q: Any, nu: Any) -> Any:
            return stats.t.isf(q / 2.0, nu)

        def _rvs(self, nu: Any, size: Any = None, random_state: Any = None) -> Any:
            return np.abs(random_state.standard_t(nu, size=size))

        def _munp(self, n: Any, nu: Any) -> Any:
            """E |t|^n, infinite unless n < nu."""
            m = n / 2
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                small = special.gammaln(nu / 2 - m) - special.gammaln(nu / 2) + m * np.log(nu / 2)
                # Of large numbers that is a difference in which nothing is left: for them by the series of
                # Gamma(a + m) / Gamma(a), a = nu / 2 - m (Abramowitz and Stegun 6.1.47).
                a = nu / 2 - m
                more = m * (m - 1) / (2 * a)
                more += m * (m - 1) * (m - 2) * (3 * m - 1) / (24 * a) / a
                large = -m * np.log1p(-n / nu) - np.log1p(more)
                log = np.where(nu > _LARGE_NU * (n + 1) ** 2, large, small)
            log += special.gammaln(m + 0.5) + m * math.log(2.0) - math.log(math.pi) / 2
            return np.where(nu > n, np.exp(log), np.inf)

        def _stats(self, nu: Any) -> Any:
            mean, square = self._munp(1, nu), self._munp(2, nu)
            # Of two infinite moments there is no difference: as of SciPy's t, the variance is unknown then.
            with np.errstate(invalid="ignore"):
                variance = np.where(nu > 1, square - mean**2, np.nan)
            return mean, variance, None, None

    return HalfStudentT(a=0.0, name="half_student_t", shapes="nu")


@lru_cache(maxsize=1)
def _gamma() -> rv_continuous:
    """SciPy's Gamma, whose log density is not NaN where its argument in units of the scale overflows."""
    import numpy as np
    from scipy import stats

    class Gamma(type(stats.gamma)):  # type: ignore[misc] # SciPy has no types
        def _logpdf(self, x: Any, a: Any) -> Any:
            with np.errstate(invalid="ignore"):
                return np.where(np.isposinf(x), -np.inf, super()._logpdf(x, a))

    return Gamma(a=0.0, name="gamma")


_LIST = (
    PriorFamily("Normal", ("mu", "sigma"), ("sigma",), "real", _named("norm")),
    PriorFamily(
        "StudentT",
        ("nu", "mu", "sigma"),
        ("nu", "sigma"),
        "real",
        _named("t"),
    ),
    PriorFamily("Cauchy", ("mu", "sigma"), ("sigma",), "real", _named("cauchy")),
    PriorFamily(
        "HalfNormal", ("sigma",), ("sigma",), "positive", lambda s: _stats("halfnorm")(0.0, s)
    ),
    PriorFamily(
        "HalfStudentT",
        ("nu", "sigma"),
        ("nu", "sigma"),
        "positive",
        lambda nu, s: _half_student_t()(nu, 0.0, s),
    ),
    PriorFamily(
        "HalfCauchy", ("sigma",), ("sigma",), "positive", lambda s: _stats("halfcauchy")(0.0, s)
    ),
    PriorFamily(
        "Exponential", ("rate",), ("rate",), "positive", lambda r: _stats("expon")(0.0, 1.0 / r)
    ),
    PriorFamily(
        "Gamma",
        ("shape", "rate"),
        ("shape", "rate"),
        "positive",
        lambda a, r: _gamma()(a, 0.0, 1.0 / r),
    ),
    PriorFamily(
        "InverseGamma",
        ("shape", "scale"),
        ("shape", "scale"),
        "positive",
        lambda a, s: _stats("invgamma")(a, 0.0, s),
    ),
    PriorFamily(
        "LogNormal",
        ("mu", "sigma"),
        ("sigma",),
        "positive",
        lambda m, s: _stats("lognorm")(s, 0.0, math.exp(m)),
    ),
    PriorFamily(
        "Uniform",
        ("lower", "upper"),
        (),
        "interval",
        lambda lo, hi: _stats("uniform")(lo, hi - lo),
    ),
)
PRIOR_FAMILIES: Mapping[str, PriorFamily] = {family.name: family for family in _LIST}

#: exp of it still fits double precision, and so does its reciprocal.
_LARGEST_LOG = 700.0
#: The logarithm of the Gamma function of it fits double precision, too.
_LARGEST_SHAPE = 1e300

#: Degrees of freedom, over (n + 1)^2, from which on the n-th moment is computed by a series: its error is
#: then of the order 1e-15, and that of a difference of logarithms of Gamma functions 1e-10.
_LARGE_NU = 1e5

_FORM = re.compile(r"^\s*([A-Za-z]\w*)\s*\((.*)\)\s*$", re.DOTALL)


@dataclass(frozen=True)
class Prior:
    """A prior distribution with its numbers, such as ``Prior("HalfNormal", (2.0,))``.

    Parameters
    ----------
    family : str
        A name from `PRIOR_FAMILIES`, or ``"Fixed"`` for a known value (family parameters only).
    args : tuple of float
        The parameters, positional, in the family's order.

    Raises
    ------
    SpecError
        For an unknown family, a wrong number of parameters, or a parameter out of range.
    """

    family: str
    args: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.family, str):
            raise SpecError(
                f"a prior's family is a name such as 'HalfNormal', not {shown(self.family)}."
            )
        # Characters could be numbers, and what has no order has no first parameter.
        if isinstance(self.args, str | bytes | Mapping | AbstractSet):
            raise SpecError(f"{self.family[:60]} takes numbers, not {shown(self.args)}.")
        if isinstance(self.args, Iterator):
            raise SpecError(
                f"{self.family[:60]} takes numbers in a list or a tuple, not an iterator: "
                "give tuple(...) of it."
            )
        try:
            object.__setattr__(self, "args", tuple(map(_as_float, self.args)))
        except (TypeError, ValueError, OverflowError):
            raise SpecError(f"{self.family[:60]} takes numbers, not {shown(self.args)}.") from None
        if self.family == "Fixed":
            names: tuple[str, ...] = ("value",)
        elif self.family in PRIOR_FAMILIES:
            names = PRIOR_FAMILIES[self.family].parameters
        else:
            known = ", ".join(sorted(PRIOR_FAMILIES))
            meant = did_you_mean(self.family, PRIOR_FAMILIES)
            raise SpecError(f"unknown prior {shown(self.family)}.{meant} Known: {known}.")
        if len(self.args) != len(names):
            raise SpecError(
                f"{self.family}({', '.join(names)}) takes {len(names)} number(s), "
                f"but {len(self.args)} were given."
            )
        self._check(dict(zip(names, self.args, strict=True)))

    def _check(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise SpecError(f"{self}: {name} must be a finite number.")
        if self.is_fixed:
            return
        for name in PRIOR_FAMILIES[self.family].positive:
            if values[name] <= 0:
                raise SpecError(f"{self}: {name} must be greater than 0.")
        if self.family == "Uniform" and values["lower"] >= values["upper"]:
            raise SpecError(f"{self}: lower must be less than upper.")
        if not self._is_representable(values):
            raise SpecError(f"{self}: its numbers are too extreme for double precision.")

    def _is_representable(self, values: dict[str, float]) -> bool:
        """Whether the intermediate numbers of the density are finite and not zero, too."""
        if self.family == "Uniform":
            return math.isfinite(values["upper"] - values["lower"])
        if self.family == "LogNormal":
            return abs(values["mu"]) < _LARGEST_LOG
        positive = PRIOR_FAMILIES[self.family].positive
        if values.get("shape", 1.0) > _LARGEST_SHAPE:
            return False
        return all(math.isfinite(1.0 / values[name]) for name in positive)

    def __str__(self) -> str:
        return f"{self.family}({', '.join(_number(a) for a in self.args)})"

    @classmethod
    def parse(cls, text: str | float | Prior) -> Prior:
        """Read a prior from its text form, such as ``"StudentT(3, 0, 2.5)"``.

        A bare number means a known value. ``str`` of the result reads back as the same prior, exactly.

        Raises
        ------
        SpecError
            If the text is not a prior.
        """
        if isinstance(text, Prior):
            return text
        number: Any = text  # also one of NumPy's, which the annotation does not know
        if is_number(number, numbers.Real):
            return cls("Fixed", (number,))
        if not isinstance(text, str):
            raise SpecError(f"a prior is text such as 'HalfNormal(2)', not {shown(text)}.")
        try:
            return cls("Fixed", (_plain_float(text),))
        except ValueError:
            pass
        match = _FORM.match(text)
        if match is None:
            raise SpecError(
                f"cannot read the prior {shown(text)}: write, for example, HalfNormal(2)."
            )
        return cls(match[1], tuple(_parse_number(part, text) for part in _split(match[2])))

    @property
    def is_fixed(self) -> bool:
        """Whether this is a known value rather than a distribution."""
        return self.family == "Fixed"

    @property
    def value(self) -> float:
        """The known value of a fixed parameter."""
        if not self.is_fixed:
            raise SpecError(f"{self} is a distribution, not a known value.")
        return self.args[0]

    @property
    def bounds(self) -> tuple[float, float]:
        """The open interval on which the density is positive."""
        if self.is_fixed:
            return (self.value, self.value)
        support = PRIOR_FAMILIES[self.family].support
        if support == "interval":
            return (self.args[0], self.args[1])
        return (0.0, math.inf) if support == "positive" else (-math.inf, math.inf)

    @property
    def is_positive(self) -> bool:
        """Whether all of the prior's mass lies on numbers >= 0."""
        return self.bounds[0] >= 0 and self.bounds[1] > 0

    def scipy(self) -> Any:
        """Return the frozen SciPy distribution (`logpdf`, `rvs`, `ppf`) that defines this prior."""
        if self.is_fixed:
            raise SpecError(f"{self} has no density.")
        return _distribution(self.family, self.args)


@lru_cache(maxsize=256)
def _distribution(family: str, args: tuple[float, ...]) -> Any:
    # SciPy takes milliseconds to make one; a density at 50 points asks for hundreds of the same.
    return PRIOR_FAMILIES[family].scipy(*args)


def _number(value: float) -> str:
    """Shortest text that reads back as exactly `value`."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _as_float(value: object) -> float:
    if not is_number(value, numbers.Real):
        raise TypeError(value)
    return float(value)


def _split(inner: str) -> list[str]:
    return inner.split(",") if inner.strip() else []


def _plain_float(text: str) -> float:
    """Read a number of ASCII digits; Python's own also takes 1_0, and digits of other scripts."""
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)


def _parse_number(part: str, text: str) -> float:
    try:
        return _plain_float(part)
    except ValueError:
        raise SpecError(
            f"cannot read the prior {shown(text)}: {shown(part.strip())} is not a number; "
            "parameters are numbers in order, such as HalfNormal(2)."
        ) from None
