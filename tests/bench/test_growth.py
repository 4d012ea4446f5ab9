"""Growth exponents, and the size from which a GPU pays."""

import numpy as np
import pytest
from of_table import crossovers, growth

from nestor.bench.growth import METRICS

CPU, GPU = "numpyro:nuts@noncentered", "numpyro:nuts@noncentered,gpu,vectorized"
SIZES = (1e3, 1e4, 1e5)


def _fit(table, metric):
    return next((one for one in growth(table) if one.metric == metric), None)


def _times(cpu, gpu, noise=0.0):
    """Give both contenders seconds that are a function of the size."""
    rng = np.random.default_rng(5)

    def change(row):
        law = gpu if row["device"] == "gpu" else cpu
        seconds = law(row["sweep_value"]) * np.exp(noise * rng.normal())
        return row | {"time_to_ess_s": seconds, "time_to_ess_warm_s": seconds / 2}

    return change


def test_a_power_law_is_found_exactly(bench_table):
    def change(row):
        return row | {"sampling_s": 0.02 * row["sweep_value"] ** 1.25}

    found = _fit(bench_table(sweep="rows", sizes=SIZES, change=change), "sampling_s")
    assert (found.exponent, found.last) == pytest.approx((1.25, 1.25))
    assert (found.low, found.high) == pytest.approx((1.25, 1.25))
    assert found.at(4e4) == pytest.approx(0.02 * 4e4**1.25)
    assert (found.sizes, found.n, found.left_out) == (SIZES, 15, 0)


def test_fixed_costs_hide_the_growth_at_small_sizes(bench_table):
    # 10 + n / 1000 seconds: nearly constant up to 1e3; between 1e5 and 1e6 log10(1010 / 110) = 0.963.
    def change(row):
        return row | {"time_to_ess_s": 10 + row["sweep_value"] / 1000}

    sizes = (1e3, 1e4, 1e5, 1e6)
    found = _fit(bench_table(sweep="rows", sizes=sizes, change=change), "time_to_ess_s")
    assert found.last == pytest.approx(np.log10(1010 / 110))
    assert found.exponent < found.last
    assert found.high > found.last  # the departure from a line is in the interval


def test_every_metric_is_fitted(bench_table):
    found = growth(
        bench_table([CPU, GPU], sweep="rows", sizes=SIZES, tracks=("defaults", "matched"))
    )
    assert len(found) == 2 * 2 * len(METRICS)
    assert {one.metric for one in found} == set(METRICS)


def test_seconds_per_gradient_are_those_of_sampling_over_the_gradients(bench_table):
    def change(row):
        return row | {"sampling_s": row["sweep_value"] ** 2, "gradients": int(row["sweep_value"])}

    table = bench_table(sweep="rows", sizes=SIZES, change=change)
    assert _fit(table, "sampling_s_per_gradient").exponent == pytest.approx(1)


def test_the_interval_holds_the_exponent_as_often_as_it_says(bench_table):
    # Departures of the sizes (10%) and of the runs (5%): exact Student t, 95%; the standard error of
    # 300 trials is 1.3%. A table per trial would be slow, so each trial is a contender.
    rng = np.random.default_rng(11)
    departure = {}

    def change(row):
        at = (row["contender"], row["sweep_value"])
        size = departure.setdefault(at, 0.1 * rng.normal())
        return row | {"compile_s": row["sweep_value"] * np.exp(size + 0.05 * rng.normal())}

    names = [f"a:b@{i}" for i in range(300)]
    table = bench_table(
        names, sweep="rows", sizes=(1e3, 1e4, 1e5, 1e6), seeds=(1, 2, 3), change=change
    )
    fits = [one for one in growth(table) if one.metric == "compile_s"]
    held = np.mean([one.low <= 1 <= one.high for one in fits])
    assert len(fits) == 300
    assert held == pytest.approx(0.95, abs=0.04)


def test_two_sizes_or_no_sweep_have_no_exponent(bench_table):
    assert growth(bench_table(sweep="rows", sizes=SIZES[:2])) == []
    assert growth(bench_table()) == []


def test_runs_that_are_not_ok_are_left_out_and_counted(bench_table, end_run):
    def change(row):
        if row["sweep_value"] == 1e5 and row["seed"] > 2:
            return end_run(row, "timeout")
        return end_run(row, "skipped") if row["sweep_value"] == 1e6 else row

    found = _fit(bench_table(sweep="rows", sizes=(*SIZES, 1e6), change=change), "sampling_s")
    assert (found.n, found.left_out, found.sizes) == (12, 3, SIZES)


def test_a_wrong_answer_has_no_cost(bench_table):
    def change(row):
        return row | ({"verdict": "DISAGREE"} if row["sweep_value"] == 1e5 else {})

    assert growth(bench_table(sweep="rows", sizes=SIZES, change=change)) == []


def test_chains_count_as_sizes(bench_table):
    table = bench_table([CPU, GPU], sweep="chains", sizes=(4, 64, 1024))
    found = _fit(table, "sampling_s")
    assert (found.sweep, found.chains, found.sizes) == ("chains", None, (4, 64, 1024))
    assert {one.sweep for one in crossovers(table)} == {"chains"}


def test_a_crossing_is_interpolated_on_logarithms(bench_table):
    # 1e-3 n and 3e-2 sqrt(n) are equal where sqrt(n) = 30: at 900.
    change = _times(lambda n: 1e-3 * n, lambda n: 3e-2 * np.sqrt(n))
    table = bench_table([CPU, GPU], sweep="rows", sizes=(1e2, 1e4, 1e5), change=change)
    cold, warm = crossovers(table)
    assert (cold.metric, warm.metric) == ("time_to_ess_s", "time_to_ess_warm_s")
    assert (cold.answer, cold.between, cold.changes) == ("crosses", (1e2, 1e4), 1)
    assert cold.size == pytest.approx(900)
    assert cold.ratios == pytest.approx((1 / 3, 10 / 3, 1e2 / (3e-2 * np.sqrt(1e5))))
    assert (cold.cpu, cold.gpu) == (CPU, GPU)


@pytest.mark.parametrize(("factor", "answer"), [(0.1, "always"), (10, "never")])
def test_a_gpu_may_pay_always_or_never(bench_table, factor, answer):
    change = _times(lambda n: n, lambda n: factor * n)
    found = crossovers(bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change))
    assert [(one.answer, one.size, one.between) for one in found] == [(answer, None, None)] * 2


def test_the_last_of_several_crossings_counts_and_all_are_counted(bench_table):
    ahead = {1e3: 2, 1e4: 0.5, 1e5: 2}
    change = _times(lambda n: ahead[n], lambda n: 1)
    found = crossovers(bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change))[0]
    assert (found.answer, found.between, found.changes) == ("crosses", (1e4, 1e5), 2)
    assert found.size == pytest.approx(1e4 * np.sqrt(10))


def test_a_censored_time_beyond_the_other_says_who_is_quicker_but_not_where(bench_table, end_run):
    late = _times(lambda n: 5, lambda n: 10)

    def change(row):
        if row["device"] == "cpu" and row["sweep_value"] == 1e5:
            return end_run(row, "timeout", at=60.0)
        return late(row)

    found = crossovers(bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change))[0]
    assert (found.answer, found.between, found.size) == ("crosses", (1e4, 1e5), None)
    assert found.ratios == (pytest.approx(0.5), pytest.approx(0.5), None)


def test_a_censored_time_below_the_other_says_nothing(bench_table, end_run):
    late = _times(lambda n: 50, lambda n: 100)

    def change(row):
        if row["device"] == "cpu" and row["sweep_value"] == 1e5:
            return end_run(row, "timeout", at=60.0)
        return late(row)

    found = crossovers(bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change))[0]
    assert (found.answer, found.sizes) == ("never", (1e3, 1e4))


def _cores(cpu, gpu):
    """Give the contenders' rows so many cores, and seconds that tell which rows were taken."""

    def change(row):
        on_gpu = row["device"] == "gpu"
        cores = (gpu if on_gpu else cpu)[row["seed"] - 1]
        seconds = row["sweep_value"] / (5 * cores if on_gpu else cores)
        return row | {"cores": cores, "time_to_ess_s": seconds}

    return change


def test_the_gpu_may_be_in_a_machine_with_other_cores(bench_table):
    change = _cores(cpu=(2,), gpu=(16,))
    table = bench_table([CPU, GPU], sweep="rows", sizes=SIZES, seeds=(1,), change=change)
    cold, _ = crossovers(table)
    assert (cold.cpu_cores, cold.gpu_cores, cold.chains) == (2, 16, 4)
    assert cold.ratios == pytest.approx((40, 40, 40))  # 5 * 16 / 2


def test_of_several_numbers_of_cores_the_largest_counts(bench_table):
    change = _cores(cpu=(2, 8, 4), gpu=(1, 1, 2))
    table = bench_table([CPU, GPU], sweep="rows", sizes=SIZES, seeds=(1, 2, 3), change=change)
    # Two of the GPU's runs share a core; the one with two cores is the one that counts.
    cold, _ = crossovers(table)
    assert (cold.cpu_cores, cold.gpu_cores) == (8, 2)
    assert cold.ratios == pytest.approx((10 / 8,) * 3)


def test_chains_must_be_the_same_unless_they_are_swept(bench_table):
    def change(row):
        return row | {"chains": 64 if row["device"] == "gpu" else 4}

    assert crossovers(bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change)) == []


def test_only_contenders_that_differ_in_device_alone_are_compared(bench_table):
    others = ["numpyro:nuts@centered,gpu,vectorized", "pymc:nutpie@noncentered"]
    assert crossovers(bench_table([CPU, *others], sweep="rows", sizes=SIZES)) == []
