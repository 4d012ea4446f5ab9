"""The figures of a run, against numbers worked out by hand."""

import pytest

from nestor.bench.metrics import metrics_of, time_to_ess, worst_ess
from nestor.bench.record import DiagnosticsDocument, SecondsDocument
from nestor.engines.clock import all_in

SECONDS = SecondsDocument(
    import_s=1.0,
    upload_s=0.5,
    compile_s=10.0,
    warm_compile_s=2.0,
    warmup_s=3.0,
    sampling_s=4.0,
    postprocess_s=0.6,
    transfer_s=0.4,
    total_s=20.0,
    elapsed_s=21.0,
)


def diagnostics(bulk, tail, gradients=2_000):
    return DiagnosticsDocument(
        passed=True,
        failures=[],
        ess_bulk_min=bulk,
        ess_bulk_quantity="a",
        ess_tail_min=tail,
        ess_tail_quantity="b",
        rhat_max=1.0,
        ebfmi_min=1.0,
        divergences=0,
        treedepth_hits=0,
        gradients=gradients,
    )


class Record:
    """What `metrics_of` reads of a record."""

    def __init__(self, status, seconds, found):
        self.status, self.seconds, self.diagnostics = status, seconds, found


def test_the_smaller_of_bulk_and_tail_counts_and_whose_it_is():
    assert worst_ess(diagnostics(500, 800)) == (500, "bulk", "a")
    assert worst_ess(diagnostics(900, 800)) == (800, "tail", "b")
    assert worst_ess(diagnostics(None, 800)) == (None, "", "")


def test_what_grows_with_the_draws_is_scaled_and_the_rest_is_paid_once():
    # 0.5 + 10 + 3 once; (4 + 0.6 + 0.4) for 800 effective draws, half of it for 400.
    assert time_to_ess(SECONDS, 800, 400, SECONDS.compile_s) == (16.0, False)
    assert time_to_ess(SECONDS, 800, 400, SECONDS.warm_compile_s) == (8.0, False)
    assert time_to_ess(SECONDS, 200, 400, SECONDS.compile_s) == (23.5, False)


def test_where_warmup_cannot_be_told_apart_the_whole_run_is_a_bound():
    seconds = SECONDS.model_copy(update={"warmup_s": None, "sampling_s": None})
    # 20 - 1 of import = 19, whatever more than the target there is.
    assert time_to_ess(seconds, 800, 400, seconds.compile_s) == (19.0, True)
    assert time_to_ess(seconds, 800, 400, seconds.warm_compile_s) == (11.0, True)


def test_all_in_is_what_a_comparison_calls_so():
    """A run whose draws are just enough takes what `nestor compare` shows as all in."""
    phases = ("import_s", "upload_s", "compile_s", "warmup_s", "sampling_s", "postprocess_s")
    total = sum(getattr(SECONDS, name) for name in (*phases, "transfer_s"))
    seconds = SECONDS.model_copy(update={"total_s": total})
    shown = all_in(total, SECONDS.import_s)
    assert shown == total - 1.0
    assert time_to_ess(seconds, 400, 400, seconds.compile_s) == (pytest.approx(shown), False)


@pytest.mark.parametrize("ess", [None, 0.0])
def test_without_effective_draws_there_is_no_time(ess):
    assert time_to_ess(SECONDS, ess, 400, 1.0) == (None, False)


def test_without_a_second_compilation_there_is_no_warm_time():
    assert time_to_ess(SECONDS, 800, 400, None) == (None, False)


def test_a_run_that_is_ok():
    found = metrics_of(Record("ok", SECONDS, diagnostics(800, 1_000)), 400)
    assert (found.time_to_ess_s, found.time_to_ess_warm_s, found.censored) == (16.0, 8.0, False)
    assert (found.ess_per_s_sampling, found.ess_per_s) == (200.0, pytest.approx(800 / 7))
    assert (found.ess_per_gradient, found.gradients_per_s) == (0.4, 500.0)
    assert (found.ess_min, found.ess_kind, found.ess_quantity) == (800, "bulk", "a")


def test_a_run_that_fails_its_gates_is_censored_at_all_that_it_took():
    found = metrics_of(Record("gates_failed", SECONDS, diagnostics(800, 1_000)), 400)
    assert (found.time_to_ess_s, found.censored, found.censored_at_s) == (None, True, 19.0)


def test_a_run_that_is_wrong_has_no_speed():
    found = metrics_of(Record("ok", SECONDS, diagnostics(800, 1_000)), 400, wrong=True)
    assert (found.time_to_ess_s, found.censored, found.censored_at_s) == (None, True, 19.0)
    assert (found.ess_per_s_sampling, found.ess_per_s, found.ess_per_gradient) == (None, None, None)


def test_a_run_short_of_the_target_is_censored():
    found = metrics_of(Record("ok", SECONDS, diagnostics(800, 1_000)), 1_000)
    assert (found.time_to_ess_s, found.censored, found.censored_at_s) == (None, True, 19.0)


def test_a_run_without_draws_is_censored_at_its_process_time():
    found = metrics_of(Record("timeout", SecondsDocument(elapsed_s=60.0), None), 400)
    assert (found.censored, found.censored_at_s, found.ess_min) == (True, 60.0, None)


def test_a_skipped_cell_has_no_figures():
    found = metrics_of(Record("skipped", None, None), 400)
    assert (found.censored, found.time_to_ess_s) == (False, None)
