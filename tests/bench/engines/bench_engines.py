"""Engines for tests of the benchmark harness, beside those of fixtures/engines."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "fixtures" / "engines"))

from fake_engines import Exact, Model, with_measured


class Counted(Exact):
    """Writes a line whenever it begins to sample, and takes a moment."""

    name = "counted"
    implementation = "counted"

    def model(self, problem, reference):
        return CountedModel(problem, reference, 0.0)


class CountedModel(Model):
    def sample(self, config, on_progress=None):
        with Path(os.environ["NESTOR_FAKE_CALLS"]).open("a") as stream:
            stream.write(f"{config.seed}\n")
        begin = time.perf_counter()
        time.sleep(float(os.environ.get("NESTOR_FAKE_SECONDS", "0")))
        return with_measured(super().sample(config, on_progress), begin)


class Rubbish(Exact):
    """Returns numbers that are none."""

    name = "rubbish"

    def model(self, problem, reference):
        return RubbishModel(problem, reference, 0.0)


class RubbishModel(Model):
    def sample(self, config, on_progress=None):
        draws = super().sample(config, on_progress)
        return replace(draws, values={n: np.full_like(v, np.nan) for n, v in draws.values.items()})


class Unsplit(Exact):
    """Cannot tell warmup from sampling."""

    name = "unsplit"

    def model(self, problem, reference):
        return UnsplitModel(problem, reference, 0.0)


class UnsplitModel(Model):
    def sample(self, config, on_progress=None):
        draws = super().sample(config, on_progress)
        return replace(draws, timings=replace(draws.timings, warmup=None, sampling=None))


class Caching(Exact):
    """Has a compile cache: the first compilation leaves a file, the second finds it."""

    name = "caching"

    def cache_environment(self, folder):
        return {"NESTOR_FAKE_CACHE": str(folder)}

    def device_environment(self, device):
        return {}

    def model(self, problem, reference):
        folder = Path(os.environ["NESTOR_FAKE_CACHE"])
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "compiled").exists():
            time.sleep(0.3)
            (folder / "compiled").write_text("compiled")
        return Model(problem, reference, 0.0)
