"""A contender: an engine, and how and where it runs."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from nestor.engines import registry
from nestor.engines.capability import refusal
from nestor.engines.formulation import Centering, Formulation, is_formulation_word
from nestor.engines.protocol import ChainMethod, Device, DType, SamplerConfig
from nestor.errors import SpecError, UnknownContender, Unsupported
from nestor.errors.arguments import shown
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.data.problem import Problem
    from nestor.engines.protocol import Backend

_DEVICES: tuple[str, ...] = get_args(Device)
_DTYPES: tuple[str, ...] = get_args(DType)
_METHODS: tuple[str, ...] = get_args(ChainMethod)
_GRAMMAR = (
    "ENGINE[@WORD,...] with words from auto, marginalized, centered, noncentered, LEVEL=centered, "
    "LEVEL=noncentered, rows, statistics, float64, float32, cpu, gpu, sequential, parallel, vectorized"
)
#: Bytes; file systems allow 255, suffixes included.
_LONGEST_STEM = 200
#: Characters, of at most four bytes each, kept of a name that is spelt otherwise.
_KEPT_OF_STEM = 40
#: The formulation that is chosen once the problem is known; the default.
AUTO = "auto"


@dataclass(frozen=True)
class Contender:
    """An engine with every choice resolved, but for the formulation of one that is `auto`.

    Parameters
    ----------
    backend : str
        The backend's name.
    sampler : str or None
        One of the backend's samplers; None where it has none (densities only).
    formulation : Formulation
        How the posterior is computed; without meaning while `auto`.
    device : {"cpu", "gpu"}
        Where.
    dtype : {"float64", "float32"}
        In which precision.
    chain_method : {"sequential", "parallel", "vectorized"}
        How chains are run.
    auto : bool
        Whether `resolve_formulation` has still to choose the formulation.
    reason : str
        Why `resolve_formulation` chose the formulation; empty where it was named. No part of what a
        contender is.
    """

    backend: str
    sampler: str | None
    formulation: Formulation
    device: Device
    dtype: DType
    chain_method: ChainMethod
    auto: bool = False
    reason: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str, levels: Sequence[str]) -> Contender:
        """Read a contender such as ``numpyro@state=centered,float32`` for a model with `levels`.

        Raises
        ------
        SpecError
            If the text is not of the grammar, or names an unknown or missing engine.
        Unsupported
            If the backend lacks what a word asks for.
        """
        if not isinstance(text, str) or not text.strip():
            raise SpecError(f"an engine is text such as 'pymc:nutpie@centered', not {shown(text)}.")
        engine, at, tail = text.strip().partition("@")
        words = _split(tail, levels) if at else []
        if at and not all(words):
            raise SpecError(f"cannot read the engine {shown(text)}: write {_GRAMMAR}.")
        name, colon, sampler = engine.partition(":")
        entry = registry.get(name)
        device = _one(words, _DEVICES, "cpu", text)
        method = _usual_chain_method(entry, device)
        how = _formulation_words(words, text, levels)
        found = cls(
            backend=name,
            sampler=_sampler(entry, sampler if colon else None),
            device=device,  # type: ignore[arg-type]
            dtype=_one(words, _DTYPES, "float64", text),  # type: ignore[arg-type]
            chain_method=_one(words, _METHODS, method, text),  # type: ignore[arg-type]
            formulation=Formulation.parse(how, levels),
            auto=not how,
        )
        _check_capable(entry, found)
        return found

    @classmethod
    def parse_sampler(cls, text: str, levels: Sequence[str]) -> Contender:
        """Read a contender as `parse` does, and refuse one that cannot sample."""
        found = cls.parse(text, levels)
        if found.sampler is None:
            raise SpecError(f"engine {found.engine!r} evaluates densities only: it cannot sample.")
        return found

    def resolve_formulation(self, problem: Problem) -> Contender:
        """Choose the formulation for a problem, if it is `auto`; see `nestor.engines.auto.choose`."""
        if not self.auto:
            return self
        from nestor.engines.auto import choose

        choice = choose(problem, registry.get(self.backend).backend.capabilities())
        return replace(self, formulation=choice.formulation, auto=False, reason=choice.reason)

    def refusal(
        self, backend: Backend, problem: Problem | None = None, config: SamplerConfig | None = None
    ) -> str | None:
        """Say why the engine cannot run this, on a problem and with a configuration if they are given.

        See `nestor.engines.capability.refusal`. A formulation that is still `auto` is not looked at.
        """
        return refusal(
            backend,
            sampler=self.sampler,
            device=self.device,
            dtype=self.dtype,
            problem=problem,
            formulation=None if self.auto else self.formulation,
            chain_method=None if self.sampler is None else self.chain_method,
            config=config,
        )

    @property
    def engine(self) -> str:
        """``backend:sampler``, or the backend's name alone where it has no sampler."""
        return self.backend if self.sampler is None else f"{self.backend}:{self.sampler}"

    @property
    def name(self) -> str:
        """Canonical spelling: engine, formulation, and whatever differs from the defaults."""
        words = [AUTO] if self.auto else list(self.formulation.words)
        defaults = ("cpu", "float64", "parallel")
        chosen = (self.device, self.dtype, self.chain_method)
        words += [c for c, default in zip(chosen, defaults, strict=True) if c != default]
        return f"{self.engine}@{','.join(words)}"

    @property
    def requested_name(self) -> str:
        """The name before `resolve_formulation` chose the formulation; the same where it was named."""
        return replace(self, auto=True).name if self.reason else self.name

    @property
    def file_stem(self) -> str:
        """The name, spelt so that it can name a file on every system."""
        safe = "".join(c if c.isalnum() or c in "@,=._-" else "-" for c in self.name)
        if safe == self.name.replace(":", "-") and len(safe.encode()) <= _LONGEST_STEM:
            return safe
        return f"{safe[:_KEPT_OF_STEM]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    def config(self, config: SamplerConfig) -> SamplerConfig:
        """Return `config` with this contender's chain method and its own seed.

        Seeds of contenders are independent streams: SeedSequence([seed, stable hash of the name]).
        """
        word = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "little")
        seed = int(np.random.SeedSequence([config.seed, word]).generate_state(1)[0] >> 1)
        return replace(config, seed=seed, chain_method=self.chain_method)


def find_contender(text: str, contenders: Sequence[Contender]) -> int:
    """Position of the contender that a name means: its whole name, what was asked for, or a part of it.

    Parameters
    ----------
    text : str
        Such as ``"pymc"`` or ``"pymc@centered"``. An engine without its sampler, and words in any order,
        mean the one contender that they fit; one that was asked for in just these words comes first.
    contenders : sequence of Contender
        Among these.

    Raises
    ------
    UnknownContender
        If none fits, or several; with what there is.
    """
    names = [contender.name for contender in contenders]
    if text in names:
        return names.index(text)
    wanted = None
    if isinstance(text, str) and contenders:
        # What cannot be read as an engine may still fit a part of a name.
        with contextlib.suppress(SpecError, Unsupported):
            wanted = Contender.parse(text, contenders[0].formulation.levels).name
    found = [i for i, one in enumerate(contenders) if wanted in (one.name, one.requested_name)]
    found = found or [i for i, one in enumerate(contenders) if _fits(str(text), one)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = " or ".join(names[i] for i in found)
        raise UnknownContender(f"{text!r} may mean {listed}: write more of the name.")
    raise UnknownContender(
        f"there is no contender {shown(text)}; there are {', '.join(names) or 'none'}."
        f"{did_you_mean(text, _spellings(contenders))}"
    )


def _spellings(contenders: Sequence[Contender]) -> list[str]:
    """Names that mean one contender each: whole ones, and those without sampler or without words."""
    short = []
    for one in contenders:
        words = one.name.partition("@")[2]
        short += [f"{one.backend}@{words}", *dict.fromkeys([one.engine, one.backend])]
    names = [one.name for one in contenders]
    return [*names, *(text for text in short if short.count(text) == 1 and text not in names)]


def _fits(text: str, contender: Contender) -> bool:
    """Whether a name says nothing else than a contender's own does."""
    engine, _, tail = text.strip().partition("@")
    words = {word.strip() for word in tail.split(",")} - {""}
    own = {*contender.formulation.words, contender.device, contender.dtype, contender.chain_method}
    if contender.auto or contender.reason:
        own.add(AUTO)
    return engine.strip() in (contender.backend, contender.engine) and words <= own


def _sampler(entry: registry.Entry, asked: str | None) -> str | None:
    samplers = entry.backend.samplers
    if asked is None:
        return samplers[0] if samplers else None
    if asked not in samplers:
        have = ", ".join(samplers) or "none: it evaluates densities only"
        meant = did_you_mean(asked, samplers)
        raise SpecError(f"engine {entry.name!r} has no sampler {asked!r}; it has {have}.{meant}")
    return asked


def _usual_chain_method(entry: registry.Entry, device: str) -> str:
    """The chain method where none is named: the best that the engine has."""
    can = entry.backend.capabilities().chain_methods
    # Chains side by side on one GPU share it badly; one program for all of them is its strength.
    best = ("vectorized",) if device == "gpu" else ()
    return next(
        (m for m in (*best, "parallel", "sequential", "vectorized") if m in can), "parallel"
    )


def _one(words: Sequence[str], choices: Sequence[str], default: str, text: str) -> str:
    given = {word for word in words if word in choices}
    if len(given) > 1:
        raise SpecError(f"engine {shown(text)} says both {' and '.join(sorted(given))}.")
    return given.pop() if given else default


def _split(tail: str, levels: Sequence[str]) -> list[str]:
    """Cut at commas, but not at those in the name of a level."""
    pieces = tail.split(",")
    by_level = {f"{level}={how}" for level in levels for how in get_args(Centering)}
    most = 1 + max((word.count(",") for word in by_level), default=0)
    words: list[str] = []
    at = 0
    while at < len(pieces):
        # The most pieces that are a word for a level; else one.
        wider = range(most, 1, -1)
        n = next((n for n in wider if ",".join(pieces[at : at + n]).strip() in by_level), 1)
        words.append(",".join(pieces[at : at + n]).strip())
        at += n
    return words


def _all_words(levels: Sequence[str]) -> list[str]:
    by_level = [f"{level}={how}" for level in levels for how in ("centered", "noncentered")]
    general = ("marginalized", "centered", "noncentered", "rows", "statistics")
    return [AUTO, *general, *by_level, *_DEVICES, *_DTYPES, *_METHODS]


def _formulation_words(words: Sequence[str], text: str, levels: Sequence[str]) -> list[str]:
    """Words that say how; none where the formulation is to be chosen for the problem."""
    left = [w for w in words if w not in (*_DEVICES, *_DTYPES, *_METHODS)]
    named = [w for w in left if w != AUTO]
    for word in named:
        if not is_formulation_word(word):
            raise SpecError(f"engine {shown(text)}: {_unknown(word, levels)}")
    if named and AUTO in left:
        raise SpecError(
            f"engine {shown(text)}: auto chooses the formulation; leave out {named[0]!r}."
        )
    return named


def _unknown(word: str, levels: Sequence[str]) -> str:
    """Say what is wrong with an unknown word, and what to write."""
    level, equals, how = word.rpartition("=")
    if equals and level in levels:
        forms = [f"{level}={known}" for known in get_args(Centering)]
        # What follows the level decides: a long name of it makes any two words alike.
        meant = did_you_mean(word, forms) if did_you_mean(how, get_args(Centering)) else ""
        return f"unknown word {shown(how)} for the level {shown(level)}: write {' or '.join(forms)}.{meant}"
    if equals:
        return (
            f"unknown word {shown(word)}: no level {shown(level)}; the levels are {list(levels)}."
            f"{did_you_mean(level, levels)} Write {_GRAMMAR}."
        )
    meant = did_you_mean(word, _all_words(levels))
    return f"unknown word {shown(word)}.{meant} Write {_GRAMMAR}."


def _check_capable(entry: registry.Entry, contender: Contender) -> None:
    found = contender.refusal(entry.backend)
    if found is not None:
        raise Unsupported(found)
