"""Groups of options that several commands share."""

import inspect

import pytest

from nestor.cli.arguments import SamplerOptions
from nestor.cli.command import takes_groups
from nestor.cli.compare import compare
from nestor.cli.demo import demo
from nestor.cli.fit import fit
from nestor.cli.verify import verify
from nestor.errors import SpecError

_MANY = SamplerOptions(draws=2000)


@takes_groups
def command(name: str, *, sampler: SamplerOptions = _MANY, last: bool = False) -> tuple:
    """Return what it was given."""
    return name, sampler, last


def test_a_group_becomes_an_option_for_each_field_with_the_commands_own_defaults():
    parameters = inspect.signature(command).parameters
    fields = ["chains", "warmup", "draws", "seed", "target_accept", "max_tree_depth", "cores"]
    assert list(parameters) == ["name", *fields, "last"]
    assert parameters["draws"].default == 2000
    assert parameters["chains"].default == 4
    given = {name: one.default for name, one in parameters.items()} | {"name": "x", "chains": 2}
    assert command(**given) == ("x", SamplerOptions(chains=2, draws=2000), False)


@pytest.mark.parametrize(
    ("one", "draws"), [(compare, 1000), (fit, 1000), (demo, 2000), (verify, 2000)]
)
def test_commands_that_sample_have_the_same_options(one, draws):
    parameters = inspect.signature(one).parameters
    assert set(inspect.signature(command).parameters) - {"name", "last"} <= set(parameters)
    assert parameters["draws"].default == draws


def test_what_is_out_of_range_is_refused():
    with pytest.raises(SpecError, match="chains"):
        SamplerOptions(chains=0).config()
