from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint, distributions
from typing import TYPE_CHECKING

import pytest

from nestor.engines import registry
from nestor.errors import NestorWarning, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[str, str], None]
    Announce = Callable[..., list[EntryPoint]]

GOOD = """
    from nestor.backend import Capabilities

    class Backend:
        name = {name!r}
        requires = {requires!r}
        samplers = ("walk",)
        implementation = "own"

        def capabilities(self):
            none = frozenset()
            return Capabilities(none, none, none, none, none)
        def versions(self): return {{}}
        def compile(self, problem, formulation, *, sampler, device, dtype): ...
"""


def good(name: str, requires: tuple[str, ...] = ("json",)) -> str:
    return GOOD.format(name=name, requires=requires)


def point(name: str, module: str) -> EntryPoint:
    return EntryPoint(name, f"{module}:Backend", registry.GROUP)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module that can be imported during this test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def module(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")

    yield module
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def announce(tmp_path: Path) -> Announce:
    """Install the metadata of distributions and return their entry points, as Python finds them."""

    def entry_points(**backends: dict[str, str]) -> list[EntryPoint]:
        for distribution, points in backends.items():
            folder = tmp_path / f"{distribution}-1.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", encoding="utf-8"
            )
            lines = [f"[{registry.GROUP}]", *(f"{name} = {at}" for name, at in points.items())]
            (folder / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        found = sorted(distributions(path=[str(tmp_path)]), key=lambda d: d.name)
        return [p for d in found for p in d.entry_points.select(group=registry.GROUP)]

    return entry_points


def test_a_backend_is_loaded_under_its_name(write: Write) -> None:
    write("plugin_a", good("alpha"))
    found = registry.load([point("alpha", "plugin_a")])
    assert list(found) == ["alpha"]
    assert found["alpha"].name == "alpha"
    assert found["alpha"].installed


def test_backends_come_in_the_order_of_their_names(write: Write) -> None:
    write("plugin_a", good("alpha"))
    write("plugin_b", good("beta"))
    assert list(registry.load([point("beta", "plugin_b"), point("alpha", "plugin_a")])) == [
        "alpha",
        "beta",
    ]


def test_missing_libraries_are_named_with_the_command_that_installs_them(
    write: Write, announce: Announce
) -> None:
    write("plugin_a", good("alpha", requires=("json", "no_such_library", "nor_this_one")))
    (alpha,) = registry.load(announce(outsider={"alpha": "plugin_a:Backend"})).values()
    assert alpha.missing == ("no_such_library", "nor_this_one")
    assert not alpha.installed
    assert alpha.install == "pip install outsider"


def test_an_own_backend_is_installed_by_its_extra(write: Write, announce: Announce) -> None:
    write("plugin_a", good("alpha", requires=("no_such_library",)))
    (alpha,) = registry.load(announce(nestor={"alpha": "plugin_a:Backend"})).values()
    assert alpha.install == "pip install 'nestor[alpha]'"


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("raise RuntimeError('half installed')", "half installed"),
        ("import no_such_library", "no_such_library"),
        ("x = (", "SyntaxError"),
        ("other = 1", "Backend"),
        ("class Backend:\n    def __init__(self): raise OSError('no licence')", "no licence"),
        ("class Backend:\n    def __init__(self, needed): ...", "needed"),
        ("class Backend:\n    name = 'broken'", "is not a backend"),
        (good("another"), "'another'"),
        (
            good("broken").replace(
                "return Capabilities(none, none, none, none, none)", "return []"
            ),
            "not Capabilities",
        ),
        (good("broken").replace("none = frozenset()", "raise OSError('no card')"), "no card"),
        (good("broken").replace('("walk",)', '"walk"'), "samplers are 'walk'"),
    ],
    ids=[
        *("raises", "imports", "syntax", "no-class", "init", "arguments", "protocol", "wrong-name"),
        *("no-capabilities", "capabilities-raise", "samplers"),
    ],
)
def test_a_broken_backend_warns_and_the_others_stay(write: Write, source: str, word: str) -> None:
    write("plugin_broken", source)
    write("plugin_fine", good("fine"))
    points = [point("broken", "plugin_broken"), point("fine", "plugin_fine")]
    with pytest.warns(NestorWarning, match="'broken'.*skipped") as caught:
        found = registry.load(points)
    assert list(found) == ["fine"]
    (warning,) = caught
    assert word in str(warning.message)


def test_two_distributions_with_one_name_warn_and_leave_the_others_alone(
    write: Write, announce: Announce, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plugin, name in (("plugin_a", "alpha"), ("plugin_b", "alpha"), ("plugin_c", "beta")):
        write(plugin, good(name))
    points = announce(
        first={"alpha": "plugin_a:Backend", "beta": "plugin_c:Backend"},
        second={"alpha": "plugin_b:Backend"},
    )
    with pytest.warns(NestorWarning, match=r"'alpha': first and second"):
        found = registry.load(points)
    assert list(found) == ["beta"]
    monkeypatch.setattr(registry, "backends", lambda: found)
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert registry.get("beta").installed
    with pytest.raises(SpecError, match=r"'alpha': first and second\. Uninstall all but one"):
        registry.get("alpha")


def test_a_name_that_is_taken_is_nobodys_even_if_one_of_the_two_is_broken(write: Write) -> None:
    write("plugin_a", "raise RuntimeError('half installed')")
    write("plugin_b", good("alpha"))
    points = [point("alpha", "plugin_a"), point("alpha", "plugin_b")]
    with pytest.warns(NestorWarning, match="several installed distributions"):
        assert registry.load(points) == {}


def test_reasons_under_text_are_told_from_typed_ones(write: Write) -> None:
    source = good("alpha").replace("none, none)", "none, none, {'gpu': 'never'})")
    write("plugin_a", source)
    with pytest.warns(NestorWarning, match="'gpu', which is text, not Missing"):
        assert registry.load([point("alpha", "plugin_a")]) == {}


@pytest.fixture
def known(write: Write, announce: Announce, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of three backends, one of them without its library."""
    write("plugin_a", good("alpha"))
    write("plugin_b", good("beta"))
    write("plugin_c", good("gamma", requires=("no_such_library",)))
    points = announce(
        here={"alpha": "plugin_a:Backend", "beta": "plugin_b:Backend"},
        there={"gamma": "plugin_c:Backend"},
    )
    found = registry.load(points)
    monkeypatch.setattr(registry, "backends", lambda: found)


@pytest.mark.usefixtures("known")
def test_get_returns_the_backend() -> None:
    assert registry.get("beta").name == "beta"


@pytest.mark.usefixtures("known")
def test_an_unknown_name_is_answered_with_what_there_is() -> None:
    with pytest.raises(SpecError) as raised:
        registry.get("stan")
    message = str(raised.value)
    assert message.startswith("unknown engine 'stan'.")
    assert "Installed: alpha, beta." in message
    assert "Known but not installed: gamma (pip install there)." in message
    assert "Did you mean" not in message


@pytest.mark.usefixtures("known")
def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="Did you mean 'alpha'"):
        registry.get("alhpa")


@pytest.mark.usefixtures("known")
def test_a_backend_without_its_library_is_answered_with_the_command() -> None:
    with pytest.raises(SpecError, match=r"no_such_library.*pip install there"):
        registry.get("gamma")


def test_this_installation_knows_its_own_backends(tmp_path: Path) -> None:
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "from nestor.engines import registry\n"
        "print(*(f'{e.name}:{e.backend.implementation}' for e in registry.backends().values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {"numpyro:numpyro", "pymc:pymc", "reference:reference"} <= set(done.stdout.split())
