"""Refusals: a backend raises `Unsupported` with the reason, and never does something else instead."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from nestor.conformance.check import Check, ConformanceFailure, Subject, expect
from nestor.conformance.problems import contract, of_family
from nestor.conformance.session import Build, Session
from nestor.engines.formulation import Formulation
from nestor.engines.protocol import ChainMethod, SamplerConfig
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nestor.data.problem import Problem


#: Words that no backend can know.
_STRANGE: dict[str, dict[str, Any]] = {
    "sampler": {"sampler": "no_such_sampler"},
    "device": {"device": "abacus"},
    "precision": {"dtype": "float8"},
}
_STEMS = {"marginalized": "marginaliz", "sampled": "sampl"}


#: Coefficients that are no Gaussian given the scales: the word that a refusal names, and the problem.
_NOT_GAUSSIAN: dict[str, tuple[str, Callable[[], Problem]]] = {
    "student_t": ("student_t", partial(of_family, "student_t")),
    "prior of beta": ("StudentT", partial(of_family, "gaussian", beta="StudentT(4, 0, 2)")),
    "prior of gamma": ("Cauchy", partial(of_family, "gaussian", gamma="Cauchy(0, 2)")),
}


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of refusals."""
    for what, option in _STRANGE.items():
        (word,) = option.values()
        case = f"unknown {what} {word}"
        yield Check("api", "refuses", _refuses_option(option, word), case=case)
    yield Check("api", "refuses", _refuses_unknown_family, case="unknown family no_such_family")
    for word in subject.lacks("families"):
        yield Check("api", "refuses", _refuses_family(word), case=word)
    for word, formulation in _missing(subject):
        yield Check("api", "refuses", _refuses_formulation(formulation, word), case=word)
    if "marginalized" in subject.coefficients:
        for case, (word, problem) in _NOT_GAUSSIAN.items():
            run = _refuses_to_marginalize(word, problem)
            yield Check("api", "refuses", run, case=f"marginalized, {case}")
    for word in subject.lacks("devices"):
        yield Check("api", "refuses", _refuses_option({"device": word}, word), case=word)
    for word in subject.lacks("dtypes"):
        yield Check("api", "refuses", _refuses_option({"dtype": word}, word), case=word)
    yield Check("api", "refuses", _refuses_to_sample, case="sampling a model for densities only")
    for sampler in subject.samplers:
        for word in subject.lacks("chain_methods"):
            run = _refuses_chain_method(sampler, word)
            yield Check(
                "api", "refuses", run, case=f"{sampler}, {word}", words=frozenset({sampler})
            )


def _refused(action: Callable[[], object], word: str) -> None:
    """Fail unless `action` is refused by a message that names the word, or what it comes from."""
    try:
        action()
    except Unsupported as refusal:
        expect(
            _STEMS.get(word, word) in str(refusal), f"the refusal does not name {word!r}: {refusal}"
        )
    except Exception as error:
        raise ConformanceFailure(
            f"{word!r} must be refused with Unsupported, not {type(error).__name__}: {error}"
        ) from error
    else:
        raise ConformanceFailure(
            f"{word!r} is accepted: something else was done than was asked for"
        )


def _refuses_option(option: dict[str, Any], word: str) -> Callable[[Session], None]:
    def run(session: Session) -> None:
        formulation = session.subject.formulation(contract().spec.level_names)
        build = Build(contract(), formulation, **option)
        _refused(lambda: session.compile(build), word)

    return run


def _refuses_family(word: str) -> Callable[[Session], None]:
    def run(session: Session) -> None:
        problem = of_family(word)
        build = Build(problem, session.subject.formulation(problem.spec.level_names))
        _refused(lambda: session.compile(build), word)

    return run


def _refuses_unknown_family(session: Session) -> None:
    """A family that a later nestor may bring; no description of today's can name it."""
    problem: Problem = copy.copy(
        of_family(next(iter(session.subject.offers("families")), "gaussian"))
    )
    problem.spec = problem.spec.model_copy(update={"family": "no_such_family"})
    build = Build(problem, session.subject.formulation(problem.spec.level_names))
    _refused(lambda: session.compile(build), "no_such_family")


def _missing(subject: Subject) -> Iterator[tuple[str, Formulation]]:
    """Yield every word about formulations that is not offered, and a formulation that needs it."""
    levels = contract().spec.level_names
    usual = subject.formulation(levels)
    for word in subject.lacks("coefficients"):
        other = Formulation.marginalized(levels)
        yield word, other if word == "marginalized" else Formulation.parse([], levels)
    if usual.is_marginalized:
        return
    for word in subject.lacks("centering"):
        centering: Any = (word,) * len(levels)
        yield word, replace(usual, centering=centering)
    for word in subject.lacks("likelihoods"):
        likelihood: Any = word
        yield word, replace(usual, likelihood=likelihood)


def _refuses_formulation(formulation: Formulation, word: str) -> Callable[[Session], None]:
    def run(session: Session) -> None:
        _refused(lambda: session.compile(Build(contract(), formulation)), word)

    return run


def _refuses_to_marginalize(word: str, problem: Callable[[], Problem]) -> Callable[[Session], None]:
    def run(session: Session) -> None:
        levels = problem().spec.level_names
        build = Build(problem(), Formulation.marginalized(levels))
        _refused(lambda: session.compile(build), word)

    return run


def _refuses_to_sample(session: Session) -> None:
    formulation = session.subject.formulation(contract().spec.level_names)
    model = session.model(Build(contract(), formulation))
    method: Any = session.subject.chain_method
    config = SamplerConfig(chains=1, warmup=5, draws=5, chain_method=method)
    try:
        model.sample(config)
    except Unsupported as refusal:
        expect(str(refusal), "the refusal gives no reason")
    else:
        raise ConformanceFailure("a model compiled with sampler=None has sampled")


def _refuses_chain_method(sampler: str, word: str) -> Callable[[Session], None]:
    def run(session: Session) -> None:
        formulation = session.subject.formulation(contract().spec.level_names)
        model = session.model(Build(contract(), formulation, sampler))
        method: Any = word
        expect(method in get_args(ChainMethod), f"{method!r} is no chain method")
        config = SamplerConfig(chains=2, warmup=5, draws=5, chain_method=method)
        _refused(lambda: model.sample(config), word)

    return run
