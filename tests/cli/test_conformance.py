"""``nestor conformance``: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from nestor.cli.conformance import conformance
from nestor.errors import SpecError

pytestmark = pytest.mark.usefixtures("fake_engines")


def call(*arguments):
    app = typer.Typer()
    app.command()(conformance)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_a_backend_that_conforms():
    result = call("exact", "--tier", "api", "--only", "seed")
    assert result.exit_code == 0, result.output
    assert "exact conforms: 2 checks run" in result.stdout
    assert "api       2 passed" in result.stdout


def test_one_that_does_not():
    result = call("crash", "--tier", "api", "--only", "seed")
    assert result.exit_code == 1
    assert "api.the_same_seed_gives_the_same_draws[iid]" in result.stdout
    assert "ZeroDivisionError: the sampler divided by zero" in result.stdout
    assert "crash does not conform" in result.stdout
    assert "api.the_same_seed_gives_the_same_draws[iid]: error" in result.stderr


def test_an_errors_traceback_is_shown_where_it_is_asked_for():
    arguments = ("crash", "--tier", "api", "--only", "the_same_seed")
    plain, traced = call(*arguments), call(*arguments, "--traceback")
    assert "Traceback" not in plain.stdout
    assert "--traceback prints where each error was raised" in plain.stdout
    assert traced.exit_code == plain.exit_code == 1
    assert "Traceback (most recent call last)" in traced.stdout
    assert 'fake_engines.py", line' in traced.stdout
    assert "--traceback" not in traced.stdout
    assert "--traceback" not in call("exact", "--tier", "api", "--only", "the_same_seed").stdout


def test_a_process_that_dies_leaves_what_it_printed():
    result = call("killed", "--tier", "api", "--only", "the_same_seed", "--json", "--traceback")
    (row,) = json.loads(result.stdout)["results"]
    assert row["outcome"] == "error"
    assert "killed by signal 9" in row["reason"]
    assert row["traceback"] == ""  # it had printed nothing


def test_exclusions_have_their_reasons():
    result = call("reference", "--tier", "density", "--only", "every_exclusion")
    assert "never: the oracle is plain NumPy" in result.stdout
    assert result.exit_code == 1, "nothing was run, so nothing is shown"


def test_what_there_is_no_time_for_shows_nothing():
    result = call("exact", "--tier", "api", "--only", "seed", "--timeout", "0.01")
    assert result.exit_code == 3
    assert "exact is not shown to conform: 0 checks run" in result.stdout
    assert "api       2 out of time" in result.stdout


def test_what_had_run_is_said_of_an_interrupted_one(monkeypatch):
    from nestor.conformance import isolated

    def interrupted(name, *, listener, **options):
        def listen(event):
            listener(event)
            if event.result is not None and event.number == 2:
                raise KeyboardInterrupt

        return run_isolated(name, listener=listen, **options)

    run_isolated = isolated.run_isolated
    monkeypatch.setattr(isolated, "run_isolated", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^2 of [1-9]\d checks had run: 2 passed\.$"):
        conformance("exact", tier=["api"], quick=True)


def test_json_alone_on_standard_output():
    result = call("exact", "--tier", "api", "--only", "seed", "--json")
    document = json.loads(result.stdout)
    assert (document["backend"], document["ok"], document["run"]) == ("exact", True, 2)
    assert "exact conforms" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["exactt"], "Did you mean 'exact'"),
        (["exact", "--tier", "apis"], "unknown tiers"),
        (["exact", "--sampler", "nuts"], "no sampler 'nuts'"),
        (["exact", "--timeout", "0"], "timeout"),
    ],
)
def test_bad_input(arguments, match):
    result = call(*arguments)
    assert isinstance(result.exception, SpecError)
    assert match in str(result.exception)
