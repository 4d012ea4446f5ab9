"""Run a study: keep finished simulations, do the others, judge all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from nestor.agreement.arguments import check_memory, read_contender
from nestor.calibration.pool import Compiled, run_tasks
from nestor.calibration.ranking import SPARE
from nestor.calibration.result import Calibration
from nestor.calibration.simulate import check_simulations
from nestor.calibration.study import fit_path
from nestor.calibration.tasks import FIT_BLOCK, LONGEST, Around, Record, Records, StudyJob, Task
from nestor.data.propriety import check_sigma
from nestor.engines import registry
from nestor.engines.support import usable_cores
from nestor.errors import EngineFailed
from nestor.errors.arguments import MOST_ITERATIONS, one_of, seconds, whole
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner import store
from nestor.runner.contract import check_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig

#: An engine of which so many simulations crashed, and none ended well, is not asked further.
_HOPELESS = 10


@dataclass(frozen=True)
class StudyProgress:
    """Progress of a study.

    Parameters
    ----------
    done, total : int
        Simulations.
    reused : int
        Of `done`, those of an earlier run.
    failures : int
        Of `done`, those without ranks.
    doing : str
        What is going on, if it is no simulation.
    """

    done: int
    total: int
    reused: int
    failures: int
    doing: str = ""


def run_study(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    *,
    simulations: int,
    around: Around,
    ranked_draws: int,
    jobs: int | None,
    timeout: float | None,
    out: Path | None,
    on_progress: Callable[[StudyProgress], None],
) -> Calibration:
    """Calibrate an engine; see `nestor.calibrate`, which checks what is given here."""
    contender = contender.resolve_formulation(problem)
    config = replace(config, chain_method=contender.chain_method, cores=1)
    if around == "prior":
        check_simulations(problem, config.seed, simulations, contender.dtype)
    with _folder(out, problem, contender, around) as (folder, logs):
        job = StudyJob(problem, contender, config, around, ranked_draws)
        study = _Study(job, simulations, jobs or len(usable_cores()), timeout, folder, on_progress)
        try:
            with contextlib.closing(study.records):
                study.run()
        except EngineFailed:
            logs.add(study.log)  # the message names it
            raise
        result = study.result(keep=out is not None)
        if result.log is not None:
            logs.add(result.log)
        result.save()
    return result


def check_study(
    problem: Problem,
    engine: str | Contender,
    config: SamplerConfig,
    simulations: object,
    around: object,
    ranked_draws: object,
    jobs: object,
    timeout: object,
) -> Contender:
    """Refuse wrong arguments, and read the engine as it will run.

    Raises
    ------
    SpecError, Unsupported
        With what is wrong.
    DataError
        If simulations are to be around the posterior, and there is none: see `nestor.data.propriety`.
    """
    contender = one_at_a_time(read_contender(engine, problem))
    whole("simulations", simulations, least=1, most=MOST_ITERATIONS)
    whole("ranked_draws", ranked_draws, least=9, most=MOST_ITERATIONS)
    if jobs is not None:
        whole("jobs", jobs, least=1)
    one_of("around", around, get_args(Around))
    seconds("timeout", timeout)
    check_memory(problem, config)
    if around == "posterior":
        # Around the prior the data's own outcome is not looked at.
        check_sigma(problem)
    return contender


def one_at_a_time(contender: Contender) -> Contender:
    """Run chains one after another where the engine can, since simulations run side by side."""
    can = registry.get(contender.backend).backend.capabilities().chain_methods
    if contender.chain_method == "parallel" and "sequential" in can:
        return replace(contender, chain_method="sequential")
    return contender


def study_key(job: StudyJob, versions: Mapping[str, str]) -> str:
    """Hash of all that decides a simulation's ranks; the number of simulations is not among it."""
    base = store.key(job.problem, job.contender, job.config, versions)
    parts = [base, job.around, job.ranked_draws, LONGEST, SPARE, FIT_BLOCK]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def study_folder(out: Path, contender: Contender, around: Around) -> Path:
    """Folder of a study in a run directory."""
    return out / "calibration" / f"{around}-{contender.file_stem}"


@contextlib.contextmanager
def _folder(
    out: Path | None, problem: Problem, contender: Contender, around: Around
) -> Iterator[tuple[Path, set[Path]]]:
    """Yield the study's folder, or a temporary one that is removed except for the logs put into the set."""
    if out is None:
        with store.scratch_folder() as found:
            yield found
        return
    store.claim(out, problem)
    folder = study_folder(out, contender, around)
    folder.mkdir(parents=True, exist_ok=True)
    with store.locked(out):
        yield folder, set()


class _Study:
    """A study while it runs."""

    def __init__(
        self,
        job: StudyJob,
        simulations: int,
        jobs: int,
        timeout: float | None,
        folder: Path,
        on_progress: Callable[[StudyProgress], None],
    ) -> None:
        self._versions = check_versions(registry.get(job.contender.backend).backend)
        key = study_key(job, self._versions)[:12]
        self._job = replace(job, fits=folder / f"fits-{key}")
        self._simulations, self._workers, self._timeout = simulations, jobs, timeout
        self._folder, self._on_progress = folder, on_progress
        self.log = folder / "engine.log"
        self._reuses: bool | None = None
        n = len(ComparedQuantities(job.problem))
        self.records = Records(folder / f"records-{key}.jsonl", n, job.ranked_draws)

    def run(self) -> None:
        """Run the simulations that are not finished."""
        found = self.records.found
        finished = {s for s in range(self._simulations) if s in found and found[s].final}
        reused = len(finished)
        self.log.write_bytes(b"")
        tasks = [Task("simulation", s) for s in range(self._simulations) if s not in finished]
        self._tell(finished, reused)
        if tasks and self._job.around == "posterior":
            self._fit_data()
        for record in self._records_of(tasks):
            self.records.add(record)
            finished.add(record.number)
            self._tell(finished, reused)
            self._give_up_if_hopeless(finished)

    def _fit_data(self) -> None:
        """Make the fits from which simulations around the posterior take their parameters."""
        self._job.fits.mkdir(exist_ok=True)
        blocks = range(-(-self._simulations // FIT_BLOCK))
        tasks = [Task("fit", b) for b in blocks if not fit_path(self._job, b).exists()]
        self._tell(set(), 0, doing="fitting the data")
        for record in self._records_of(tasks):
            if record.status != "ok":
                raise EngineFailed(
                    f"{self._job.contender.name} could not fit the data, around whose posterior to "
                    f"simulate: {record.message.rstrip('.')}. Its log: {self.log}"
                )

    def _records_of(self, tasks: list[Task]) -> Iterator[Record]:
        running = run_tasks(self._job, tasks, self._workers, self.log, self._timeout)
        with contextlib.closing(running):
            for answer in running:
                if isinstance(answer, Compiled):
                    self._reuses = answer.reuses
                else:
                    yield answer

    def _tell(self, finished: set[int], reused: int, doing: str = "") -> None:
        failures = sum(self.records.found[s].status != "ok" for s in finished)
        self._on_progress(StudyProgress(len(finished), self._simulations, reused, failures, doing))

    def _give_up_if_hopeless(self, finished: set[int]) -> None:
        """Stop where no simulation ends well: the rest would only repeat it."""
        records = [self.records.found[s] for s in finished]
        if len(records) >= _HOPELESS and not any(record.final for record in records):
            raise EngineFailed(
                f"{self._job.contender.name}: all of the first {len(records)} simulations failed, the "
                f"last one: {records[-1].message.rstrip('.')}. Its log: {self.log}"
            )

    def _crashed(self) -> bool:
        """Whether the log may say why a simulation has no ranks."""
        found = (self.records.found[s] for s in range(self._simulations))
        return any(not record.final for record in found)

    def result(self, *, keep: bool) -> Calibration:
        found = self.records.found
        return Calibration(
            problem=self._job.problem,
            contender=self._job.contender,
            config=self._job.config,
            around=self._job.around,
            ranked_draws=self._job.ranked_draws,
            records=tuple(found[s] for s in range(self._simulations)),
            reuses=self._reuses,
            versions=self._versions,
            folder=self._folder if keep else None,
            log=self.log if self._crashed() else None,
        )
