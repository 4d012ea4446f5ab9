"""The main job: one problem, several engines; do they agree, and what does each cost?"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from nestor import registry
from nestor.agreement.density import DensityCheck, compare_densities, density_points
from nestor.agreement.run import Run
from nestor.agreement.verdict import PairResult, judge
from nestor.backend import SamplerConfig
from nestor.comparison import Comparison, EngineRow
from nestor.contender import Contender
from nestor.errors import SpecError
from nestor.events import DensityFinished, EngineFinished, Listener, WorkerEvent, ignore
from nestor.formulation import Formulation
from nestor.measure import measure
from nestor.runner import engine, store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import xarray as xr

    from nestor.problem import Problem


def compare(
    problem: Problem,
    engines: Sequence[str],
    *,
    config: SamplerConfig | None = None,
    margin: float = 0.2,
    timeout: float | None = None,
    out: str | Path | None = None,
    listener: Listener = ignore,
) -> Comparison:
    """Run the same posterior on several engines and judge every pair.

    Densities are compared with the reference first; an engine that fails there is not sampled. Each
    engine then samples in a process of its own, one after another.

    Parameters
    ----------
    problem : Problem
        Model and data.
    engines : sequence of str
        Contenders, such as ``["pymc", "numpyro@centered"]``; at least two, all different.
    config : SamplerConfig, optional
        How hard each tries; by default 4 chains of 1000 + 1000 with each library's own settings.
    margin : float
        Largest difference of means, in posterior standard deviations, that counts as none.
    timeout : float, optional
        Seconds that each engine may take: for its densities, and again to sample.
    out : path, optional
        Run directory: what is finished there under the same data, spec, settings and versions is used
        again. Without it nothing is written.
    listener : callable
        Hears of progress; see `nestor.events`.

    Raises
    ------
    SpecError, Unsupported, DataError
        If the engines, settings or directory are wrong; nothing has been run then.
    """
    check_problem(problem)
    config = config or SamplerConfig()
    engines = engines if isinstance(engines, str) else list(engines)
    contenders = read_contenders(engines, problem)
    check_limits(timeout, margin)
    with _folder(out, problem) as folder:
        session = _Session(problem, config, folder, timeout, listener, keep=out is not None)
        try:
            for contender in contenders:
                session.check_density(contender)
            for contender in contenders:
                session.sample(contender)
        except KeyboardInterrupt:
            session.interrupt(contenders)
            session.result(margin, contenders).save()
            raise
        result = session.result(margin, contenders)
        result.save()
    return result


def read_contenders(engines: Sequence[str], problem: Problem) -> list[Contender]:
    """Read the contenders of a comparison.

    Raises
    ------
    SpecError
        If there are fewer than two, one is given twice, or one cannot sample.
    """
    if isinstance(engines, str):
        raise SpecError(
            f"engines is a list, such as ['pymc', 'numpyro'], not the text {engines!r}."
        )
    contenders = [Contender.parse_sampler(text, problem.spec.level_names) for text in engines]
    names = [contender.name for contender in contenders]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"engine {repeated[0]!r} is given twice; name different ones.")
    if len(contenders) < 2:
        raise SpecError("a comparison takes at least two engines, such as pymc and numpyro.")
    return contenders


def check_problem(problem: object) -> None:
    """Refuse what is not a `Problem`.

    Raises
    ------
    SpecError
        With how to make one.
    """
    from nestor.problem import Problem

    if not isinstance(problem, Problem):
        raise SpecError(
            f"a nestor.Problem is wanted, not {type(problem).__name__}: "
            "make one by nestor.Problem(spec, table)."
        )


def check_limits(timeout: object, margin: object = 0.2) -> None:
    """Refuse a timeout or a margin that is not a number greater than zero.

    Raises
    ------
    SpecError
        If one is not.
    """
    if timeout is not None and not _positive(timeout):
        raise SpecError(f"timeout must be a number of seconds greater than 0, not {timeout!r}.")
    if not _positive(margin):
        raise SpecError(f"the margin must be greater than 0, not {margin!r}.")


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


@contextlib.contextmanager
def _folder(out: str | Path | None, problem: Problem) -> Iterator[Path]:
    if out is None:
        with tempfile.TemporaryDirectory(prefix="nestor-") as name:
            yield Path(name)
        return
    folder = Path(out)
    store.claim(folder, problem)
    with store.locked(folder):
        yield folder


class _Session:
    """One comparison while it runs: the rows so far."""

    def __init__(
        self,
        problem: Problem,
        config: SamplerConfig,
        folder: Path,
        timeout: float | None,
        listener: Listener,
        *,
        keep: bool,
    ) -> None:
        self._problem, self._config, self._folder = problem, config, folder
        self._timeout, self._listen, self._keep = timeout, listener, keep
        self._points = density_points(problem)
        self._reference = self._evaluate_reference()
        self.rows: dict[str, EngineRow] = {}
        self.checks: dict[str, DensityCheck] = {}
        self._finished: dict[str, xr.DataTree] = {}

    def _evaluate_reference(self) -> list[float]:
        backend = registry.get("reference").backend
        levels = self._problem.spec.level_names
        model = backend.compile(
            self._problem,
            Formulation.parse([], levels),
            sampler=None,
            device="cpu",
            dtype="float64",
        )
        return [model.log_density(point) for point in self._points]

    def _key(self, contender: Contender) -> str:
        versions = registry.get(contender.backend).backend.versions()
        return store.key(self._problem, contender, contender.config(self._config), versions)

    def _path(self, contender: Contender, suffix: str) -> Path:
        return self._folder / f"{contender.file_stem}{suffix}"

    def check_density(self, contender: Contender) -> None:
        """Step 0 for one contender; a failure becomes its row."""
        name = contender.name
        tree = store.load_tree(self._path(contender, ".nc"), self._key(contender))
        if tree is not None and self._same_points(tree):
            self._finished[name] = tree
            found = [float(text) for text in engine.read_attr(tree, "log_densities")]
        else:
            log = self._path(contender, ".log")
            log.write_bytes(b"")
            outcome, values = engine.evaluate(
                self._problem,
                contender,
                self._points,
                log,
                timeout=self._timeout,
                listener=lambda event: self._listen(WorkerEvent(name, "density", event)),
            )
            if values is None:
                message = f"log density: {outcome.message}"
                self._finish(EngineRow(contender, outcome.status, message))
                return
            found = values
        check = compare_densities(name, contender.dtype, self._reference, found)
        self.checks[name] = check
        self._listen(DensityFinished(check))
        if not check.same:
            message = (
                f"its log density differs from the reference's by {check.largest:.2g} relative "
                f"(bound {check.tolerance:g}); it was not sampled"
            )
            self._finish(EngineRow(contender, "density_failed", message))

    def sample(self, contender: Contender) -> None:
        """Sample with one contender, or take what is finished; measure it."""
        name = contender.name
        if name in self.rows:
            return
        if name in self._finished:
            tree = self._finished[name]
            row = EngineRow(contender, "ok", reused=True)
        else:
            outcome, sampled = engine.sample(
                self._problem,
                contender,
                contender.config(self._config),
                self._path(contender, ".log"),
                timeout=self._timeout,
                listener=lambda event: self._listen(WorkerEvent(name, "sample", event)),
            )
            if sampled is None:
                self._finish(
                    EngineRow(
                        contender,
                        outcome.status,
                        outcome.message,
                        peak_bytes=outcome.peak_bytes,
                    )
                )
                return
            tree, row = sampled, EngineRow(contender, "ok")
            self._store(contender, tree)
        self._finish(measure(self._problem, row, tree))

    def _store(self, contender: Contender, tree: xr.DataTree) -> None:
        check = self.checks[contender.name]
        tree.attrs["log_densities"] = _texts(check.found)
        tree.attrs["reference_log_densities"] = _texts(check.reference)
        if self._keep:
            store.save_tree(tree, self._path(contender, ".nc"), self._key(contender))

    def _same_points(self, tree: xr.DataTree) -> bool:
        """Whether stored log densities belong to the points, and the reference, of this run."""
        return tree.attrs.get("reference_log_densities") == _texts(self._reference)

    def _finish(self, row: EngineRow) -> None:
        self.rows[row.name] = row
        self._listen(EngineFinished(row))

    def interrupt(self, contenders: Sequence[Contender]) -> None:
        """Give contenders without a row one that says that they were interrupted."""
        for contender in contenders:
            self.rows.setdefault(contender.name, EngineRow(contender, "interrupted", "interrupted"))

    def result(self, margin: float, contenders: Sequence[Contender]) -> Comparison:
        rows = tuple(self.rows[contender.name] for contender in contenders)
        pairs = tuple(self._judge(a, b, margin) for a, b in combinations(rows, 2))
        return Comparison(
            problem=self._problem,
            config=self._config,
            margin=margin,
            densities=tuple(self.checks[r.name] for r in rows if r.name in self.checks),
            rows=rows,
            pairs=pairs,
            folder=self._folder if self._keep else None,
        )

    def _judge(self, a: EngineRow, b: EngineRow, margin: float) -> PairResult:
        return judge(self._run(a), self._run(b), margin=margin, sd_margin=margin)

    def _run(self, row: EngineRow) -> Run:
        check = self.checks.get(row.name)
        return Run(
            name=row.name,
            labels=self._problem.scalars.labels,
            summaries=row.summaries,
            gates=row.gates,
            density_ok=None if check is None else check.same,
            missing=f"{row.status.replace('_', ' ')}: {row.message}",
        )


def _texts(values: Sequence[float]) -> str:
    """Numbers as JSON text that keeps infinities and every digit."""
    return json.dumps([repr(float(value)) for value in values])
