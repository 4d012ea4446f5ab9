"""One engine against every reference posterior: the scorecard."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nestor.agreement.arguments import check_memory, check_timeout, read_contender
from nestor.agreement.criteria import Criteria
from nestor.agreement.density import ReferenceDensity
from nestor.agreement.events import Listener, ignore
from nestor.agreement.pair_judge import PairJudge
from nestor.agreement.pipeline import run_engine
from nestor.agreement.schema import engine_document, environment
from nestor.agreement.verdict import PairResult, Verdict, judge
from nestor.engines.protocol import SamplerConfig
from nestor.errors import SpecError
from nestor.posterior.quantities import ComparedQuantities
from nestor.references.posterior import load
from nestor.references.problems import NAMES, problem
from nestor.runner import store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.agreement.engine_result import EngineRow
    from nestor.engines.contender import Contender

#: Twice the draws of a comparison: one run has to show equivalence with a posterior known almost exactly.
DEFAULT = SamplerConfig(draws=2000)


@dataclass(frozen=True)
class Score:
    """An engine on one reference problem.

    Parameters
    ----------
    problem : str
        Its name.
    row : EngineResult or EngineFailure
        What became of the engine.
    pair : PairResult or None
        Its verdict against the reference posterior; None where the engine does not support the problem.
    """

    problem: str
    row: EngineRow
    pair: PairResult | None

    def __repr__(self) -> str:
        return f"Score({self.problem}: {self.word})"

    @property
    def word(self) -> str:
        """The verdict, or that the problem is unsupported."""
        return "unsupported" if self.pair is None else self.pair.verdict.value


@dataclass(frozen=True)
class Scorecard:
    """An engine on all reference problems that were asked for.

    Parameters
    ----------
    engine : str
        As it was asked for.
    config : SamplerConfig
        How hard it tried.
    scores : tuple of Score
        One for each problem.
    """

    engine: str
    config: SamplerConfig
    scores: tuple[Score, ...]

    @property
    def verdict(self) -> Verdict:
        """AGREE if it agrees wherever it can run, DISAGREE if it disagrees once, else INCONCLUSIVE."""
        verdicts = {score.pair.verdict for score in self.scores if score.pair is not None}
        if Verdict.DISAGREE in verdicts:
            return Verdict.DISAGREE
        return Verdict.AGREE if verdicts == {Verdict.AGREE} else Verdict.INCONCLUSIVE

    @property
    def engine_failed(self) -> bool:
        """Whether the engine crashed, hung or was stopped on some problem, or can run none of them."""
        statuses = {score.row.status for score in self.scores}
        return statuses == {"unsupported"} or bool(
            statuses & {"failed", "timeout", "out_of_memory", "interrupted"}
        )

    def __repr__(self) -> str:
        words = ", ".join(f"{score.problem} {score.word}" for score in self.scores)
        return f"Scorecard({self.verdict.value}: {self.engine}; {words})"

    def to_dict(self) -> dict[str, Any]:
        """Return the scorecard as plain data."""
        return {
            "nestor_version": version("nestor"),
            "engine": self.engine,
            "verdict": self.verdict.value,
            "config": dict(vars(self.config)),
            "environment": environment(),
            "scores": [
                {
                    "problem": score.problem,
                    "verdict": score.word,
                    "engine": engine_document(score.row),
                    "pair": None if score.pair is None else score.pair.to_dict(),
                }
                for score in self.scores
            ],
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def verify(
    engine: str,
    problems: Sequence[str] | None = None,
    *,
    config: SamplerConfig = DEFAULT,
    timeout: float | None = None,
    listener: Listener = ignore,
    on_score: Callable[[Score], None] = lambda _: None,
) -> Scorecard:
    """Run an engine on reference problems and judge it against their posteriors.

    Parameters
    ----------
    engine : str
        Contender, such as ``"numpyro"``; words that name a level (``LEVEL=centered``) fit some problems only.
    problems : sequence of str, optional
        Names of reference problems; by default all.
    config : SamplerConfig
        How hard it tries.
    timeout : float, optional
        Seconds for its densities, and again to sample, on each problem.
    listener : callable
        Hears of progress; see `nestor.agreement.events`.
    on_score : callable
        Called with each finished score.

    Raises
    ------
    SpecError, Unsupported
        If the engine, a name or a setting is wrong; nothing has been run then.
    """
    check_timeout(timeout)
    names = list(NAMES if problems is None else problems)
    if repeated := [name for name in dict.fromkeys(names) if list(names).count(name) > 1]:
        raise SpecError(f"name each reference problem once: {', '.join(repeated)} is repeated.")
    if not names:
        raise SpecError(f"name at least one reference problem; there are {', '.join(NAMES)}.")
    of = {name: problem(name) for name in names}
    contenders = {n: read_contender(engine, p) for n, p in of.items()}
    for name, posing in of.items():
        check_memory(posing, config)
        load(name).check(posing)
    scores = []
    for name in names:
        scores.append(_score(name, contenders[name], config, timeout, listener))
        on_score(scores[-1])
    return Scorecard(engine, config, tuple(scores))


def _score(
    name: str,
    contender: Contender,
    config: SamplerConfig,
    timeout: float | None,
    listener: Listener,
) -> Score:
    of, criteria = problem(name), Criteria()
    with store.scratch_folder() as (folder, logs):
        log = folder / f"{contender.file_stem}.log"
        row = run_engine(
            of,
            contender,
            contender.config(config),
            log,
            reference=ReferenceDensity(of),
            timeout=timeout,
            listener=listener,
        )
        if str(log) in row.message:
            logs.add(log)
    if row.status == "unsupported":
        return Score(name, row, None)
    pair = judge(
        PairJudge(of, criteria).side(row),
        load(name).side(),
        margin=criteria.margin,
        sd_margin=criteria.margin,
        groups=ComparedQuantities(of).groups,
    )
    return Score(name, row, pair)
