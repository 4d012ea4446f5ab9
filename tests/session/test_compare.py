"""The main job with quick engines: verdicts, failures, reuse, interruption."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import xarray as xr

import nestor
from nestor import SamplerConfig, Verdict
from nestor.agreement.criteria import Criteria
from nestor.agreement.events import EngineFinished, WorkerEvent
from nestor.agreement.run import compare
from nestor.agreement.schema import json_schema
from nestor.errors import DataError, SpecError, Unsupported
from nestor.references.verify import verify

pytestmark = pytest.mark.usefixtures("fake_engines")

CONFIG = SamplerConfig(chains=4, warmup=10, draws=1000)


def test_two_good_engines_agree(small_problem, tmp_path):
    found = compare(small_problem, ["exact", "exact2"], config=CONFIG, out=tmp_path / "out")
    assert found.verdict is Verdict.AGREE
    assert [row.status for row in found.rows] == ["ok", "ok"]
    assert [check.largest for check in found.densities] == [0.0, 0.0]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"comparison.json", "exact-iid@noncentered.nc", "exact-iid@noncentered.log"} <= names
    # The independent normal draws of 4 x 1000 have a bulk ESS near 4000.
    assert found.table().loc["exact:iid@noncentered", "ess_bulk_min"] > 3000
    assert found.to_dict()["engines"][0]["draws"] == "exact-iid@noncentered.nc"


def test_a_shift_of_half_an_sd_disagrees_though_densities_are_the_same(small_problem):
    found = compare(small_problem, ["exact", "shifted"], config=CONFIG)
    assert found.verdict is Verdict.DISAGREE
    assert "beta[" in found.pairs[0].reasons[0]
    assert found.folder is None


def test_pictures_of_an_earlier_run_do_not_stay(small_problem, tmp_path):
    out, config = tmp_path / "out", SamplerConfig(draws=20)
    found = compare(small_problem, ["exact", "stuck"], config=config, out=out)
    for stale in ("ranks.png", "forest-old.png", "mine.png"):
        (out / stale).write_bytes(b"")
    written = {path.name for path in found.save_plots()}
    assert {path.name for path in out.glob("*.png")} == {*written, "mine.png"}
    assert "ranks.png" not in written


def test_a_wrong_density_is_caught_before_sampling(small_problem):
    events = []
    found = compare(small_problem, ["exact", "variance"], config=CONFIG, listener=events.append)
    assert found.verdict is Verdict.DISAGREE
    assert found.rows[1].status == "density_failed"
    sampled = {e.contender for e in events if isinstance(e, WorkerEvent) and e.task == "sample"}
    assert sampled == {"exact:iid@noncentered"}


def test_chains_apart_fail_the_gates_and_nothing_is_concluded(small_problem):
    found = compare(small_problem, ["exact", "stuck"], config=CONFIG)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.rows[1].status == "gates_failed"
    assert "R-hat" in found.rows[1].message
    assert not found.engine_failed


def test_a_failing_engine_is_a_row_and_the_others_go_on(small_problem):
    found = compare(small_problem, ["crash", "exact", "exact2"], config=CONFIG)
    assert [row.status for row in found.rows] == ["failed", "ok", "ok"]
    assert [pair.verdict.value for pair in found.pairs] == ["INCONCLUSIVE", "INCONCLUSIVE", "AGREE"]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.engine_failed


def test_finished_engines_are_used_again(small_problem, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out)
    again = compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out)
    assert [row.reused for row in again.rows] == [True, True]
    for a, b in zip(first.rows, again.rows, strict=True):
        assert np.array_equal(a.summaries.estimate, b.summaries.estimate)
        assert dict(a.timings) == dict(b.timings)
    monkeypatch.setenv("NESTOR_FAKE_VERSION", "2")
    assert not any(
        row.reused
        for row in compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out).rows
    )


def test_log_densities_at_other_points_are_not_used_again(small_problem, tmp_path, monkeypatch):
    """A later version may choose other points: old values must not be held against them."""
    import nestor.agreement.density

    out = tmp_path / "out"
    compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out)
    points = nestor.agreement.density.density_points(small_problem, seed=1)
    monkeypatch.setattr(nestor.agreement.density, "density_points", lambda *_: points)
    again = compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out)
    assert [check.largest for check in again.densities] == [0.0, 0.0]
    assert not any(row.reused for row in again.rows)


def test_a_damaged_file_is_sampled_again(small_problem, tmp_path):
    out = tmp_path / "out"
    compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out)
    path = out / "exact-iid@noncentered.nc"
    path.write_bytes(path.read_bytes()[:5000])
    again = compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out)
    assert [row.reused for row in again.rows] == [False, True]
    assert again.verdict is Verdict.AGREE


def test_an_interrupt_keeps_what_is_finished(small_problem, tmp_path):
    out = tmp_path / "out"

    def interrupt(event):
        if isinstance(event, EngineFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out, listener=interrupt)
    text = (out / "comparison.json").read_text()
    assert '"interrupted"' in text
    again = compare(small_problem, ["exact", "exact2"], config=CONFIG, out=out)
    assert [row.reused for row in again.rows] == [True, False]
    assert again.verdict is Verdict.AGREE


@pytest.mark.parametrize(
    ("engines", "error", "message"),
    [
        (["exact"], SpecError, "at least two"),
        ([], SpecError, "at least two"),
        (["exact", "exact"], SpecError, "given twice"),
        (
            ["exact", "exact:iid@noncentered"],
            SpecError,
            "'exact:iid@noncentered' is given twice: 'exact:iid@auto' is the same one, as auto chose",
        ),
        (["exact", "dense"], SpecError, "densities only"),
        (["exact", "stan"], SpecError, "unknown engine 'stan'"),
        (["exact", "exact2:nuts"], SpecError, "no sampler 'nuts'"),
        (["exact", "exact2@gpu"], Unsupported, "cannot run gpu"),
        (["exact", "exact2@vectorized"], Unsupported, "cannot run vectorized"),
        (["exact", "exact2@marginalized"], Unsupported, "cannot run marginalized"),
        (["exact", "exact2@cozy"], SpecError, "unknown word 'cozy'"),
        ("exact", SpecError, "a list"),
    ],
)
def test_bad_engines_are_refused_before_anything_runs(
    small_problem, tmp_path, engines, error, message
):
    with pytest.raises(error, match=message):
        compare(small_problem, engines, config=CONFIG, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_margin_must_be_positive(small_problem):
    with pytest.raises(SpecError, match="margin"):
        compare(small_problem, ["exact", "exact2"], criteria=Criteria(margin=0.0))


def test_another_problems_directory_is_refused(small_problem, small_table, tmp_path):
    other = nestor.Problem(nestor.ModelSpec.from_formula("y ~ 1 + (1 || g)"), small_table)
    compare(small_problem, ["exact", "exact2"], config=CONFIG, out=tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    with pytest.raises(DataError, match="another problem"):
        compare(other, ["exact", "exact2"], config=CONFIG, out=tmp_path / "out")
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}


def test_fit_returns_the_draws_or_says_why_not(small_problem):
    tree = nestor.fit(small_problem, "exact", chains=2, warmup=5, draws=10, progress=False)
    assert dict(tree["posterior"].sizes)["draw"] == 10
    with pytest.raises(nestor.EngineFailed, match=r"(?s)divided by zero.*Traceback"):
        nestor.fit(small_problem, "crash", chains=2, warmup=5, draws=10, progress=False)


@pytest.mark.filterwarnings("error::nestor.errors.ConvergenceWarning")
def test_draws_that_have_not_converged_are_warned_of(small_problem, tmp_path):
    how = {"draws": 200, "progress": False}
    good = nestor.fit(small_problem, "exact", **how | {"draws": 1000})
    assert json.loads(good.attrs["gates"])["passed"] is True
    with pytest.warns(nestor.ConvergenceWarning) as warned:
        tree = nestor.fit(small_problem, "stuck", **how)
    (one,) = warned
    assert one.filename == __file__  # the user's line
    gates = json.loads(tree.attrs["gates"])
    assert gates["passed"] is False
    worst = gates["failures"][0]
    assert re.search(r"R-hat \d\.\d+ of \S+", worst)
    text = str(one.message)
    assert text.startswith(f"stuck:iid@{tree.attrs['formulation']} has not converged: {worst}")
    assert "more warmup and draws than 1,000 + 200" in text
    tree.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "draws.nc", engine="h5netcdf") as again:
        assert json.loads(again.attrs["gates"]) == gates


def test_files_of_a_comparison_say_whether_they_converged(small_problem, tmp_path):
    compare(small_problem, ["exact", "stuck"], config=CONFIG, out=tmp_path / "out")
    passed = {}
    for path in (tmp_path / "out").glob("*.nc"):
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            passed[tree.attrs["engine"]] = json.loads(tree.attrs["gates"])["passed"]
    assert passed == {"exact:iid": True, "stuck:iid": False}


def test_what_auto_chose_is_said_and_kept_with_the_draws(small_problem, capsys):
    how = {"chains": 2, "warmup": 5, "draws": 10}
    tree = nestor.fit(small_problem, "exact", **how)
    reason = tree.attrs["formulation_reason"]
    assert tree.attrs["contender"] == f"exact:iid@{tree.attrs['formulation']}"
    assert reason.startswith("the engine cannot marginalize; centered where data say more")
    said = (
        f"exact:iid@auto: {tree.attrs['formulation']} ({reason}); the word centered or noncentered"
    )
    assert said in " ".join(capsys.readouterr().err.split())
    named = nestor.fit(small_problem, "exact@centered", **how)
    assert (named.attrs["formulation"], named.attrs["formulation_reason"]) == ("centered", "")
    assert "auto" not in capsys.readouterr().err


def test_an_engine_that_is_not_settled_is_settled_before_it_runs(small_problem, tmp_path):
    from nestor.engines.contender import Contender
    from nestor.runner import engine

    auto = Contender.parse("reference", small_problem.spec.level_names)
    config = SamplerConfig(chains=1, warmup=1, draws=10)
    _, tree = engine.sample(small_problem, auto, config, tmp_path / "log")
    assert tree.attrs["contender"] == "reference:exact@marginalized"


def test_draws_that_the_machine_cannot_hold_are_refused_before_anything_runs(
    small_problem, tmp_path, monkeypatch
):
    """4 chains x 25 numbers x 8 bytes are 800 bytes a draw: 80 MB for 100,000 draws of each chain."""
    monkeypatch.setattr("nestor.runner.memory.machine_bytes", lambda: 50_000_000)
    assert sum(np.prod(v.shape, dtype=int) for v in small_problem.variables.values()) == 25
    engines, many = ["exact", "exact2"], 100_000
    message = "take 80 MB of memory, and this machine has 50 MB; at most 62,500 draws per chain fit"
    with pytest.raises(SpecError, match=message):
        compare(small_problem, engines, config=SamplerConfig(draws=many), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SpecError, match="4 chains of 100,000 draws of 25 quantities"):
        compare(small_problem, engines, config=CONFIG, criteria=Criteria(until_verdict=many))
    with pytest.raises(SpecError, match="ask for fewer draws, or fewer chains"):
        nestor.fit(small_problem, "exact", draws=many, progress=False)
    with pytest.raises(SpecError, match="not even one draw per chain fits"):
        nestor.fit(small_problem, "exact", chains=10**6, progress=False)
    with pytest.raises(SpecError, match="of memory"):
        nestor.calibrate(small_problem, "exact", chains=2, draws=2 * many, progress=False)
    with pytest.raises(SpecError, match="of memory"):
        verify("exact", config=SamplerConfig(draws=10**6))


def test_python_compare_shows_itself(small_problem, capsys):
    found = nestor.compare(
        small_problem, ["exact", "exact2"], chains=4, warmup=10, draws=1000, progress=False
    )
    assert repr(found).startswith("Comparison(AGREE: exact:iid@noncentered (ok)")
    assert "AGREE" in str(found)
    assert "ESS" in str(found)  # its heading may be broken at a blank
    html = found._repr_html_()
    assert "AGREE" in html
    assert "<table" in html
    assert callable(nestor.compare)  # the function, not a submodule that hides it
    assert capsys.readouterr().err == ""


def test_rubbish_is_that_engines_failure_and_seconds_that_do_not_add_up_are_no_speed(
    small_problem, monkeypatch, tmp_path
):
    """One hands over a negative scale; one takes half a second and says a twentieth."""
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "tau below zero")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = compare(small_problem, ["garbage", "hasty", "exact"], config=CONFIG)
    garbage, hasty, exact = found.rows
    assert [row.status for row in found.rows] == ["failed", "ok", "ok"]
    assert found.engine_failed
    words = "tau_h[Intercept] = -0.3 at draw 17 of chain 1: outside the support"
    assert words in garbage.message
    _one_log_stays(garbage, tmp_path)

    assert (
        hasty.timings["unaccounted_s"] > 0.4
    )  # it sleeps for half a second, and reports a twentieth
    assert hasty.efficiency["ess_per_s_sampling"] is None
    # By the process's own clock, which no engine sets.
    assert hasty.efficiency["ess_per_s_total"] > 0
    assert (exact.speed_void, exact.efficiency["ess_per_s_sampling"] is None) == ("", False)
    document = found.to_dict()["engines"][1]
    assert document["timings"]["unaccounted_s"] == hasty.timings["unaccounted_s"]
    assert document["efficiency"]["speed_void"] == hasty.speed_void
    jsonschema.validate(found.to_dict(), json_schema())
    text = str(found)
    assert "hasty:iid@noncentered  no ESS/s: it reports 0.0" in text
    assert "no phase" in text


def test_versions_that_raise_are_that_engines_failure(small_problem, monkeypatch, tmp_path):
    """They are asked for here, not in the engine's process, which is never started."""
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "versions: raise")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = compare(small_problem, ["garbage", "exact"], config=CONFIG)
    assert [row.status for row in found.rows] == ["failed", "ok"]
    message = found.rows[0].message
    assert message.startswith("versions() of the backend garbage failed with ZeroDivisionError")
    _one_log_stays(found.rows[0], tmp_path)


def _one_log_stays(row, folder):
    """The log that the message names can still be read, and nothing else of the run is left."""
    log = Path(row.message.rpartition(" Its log: ")[2])
    assert "EngineFailed" in log.read_text()
    assert [path for path in folder.rglob("*") if path.is_file()] == [log]


@pytest.mark.parametrize("engines", [None, 5, "exact", b"exact", np.array(5)])
def test_engines_are_a_list(small_problem, engines):
    with pytest.raises(SpecError, match="engines is a list"):
        nestor.compare(small_problem, engines, progress=False)
