"""The border between the core and the backends, enforced: who may import whom, and what loads when."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src" / "nestor"
#: Shared by several backends; they know none of them.
SHARED = {"nestor_exact", "nestor_nutpie"}
PACKAGES = sorted(path.parent for path in (ROOT / "backends").glob("*/__init__.py"))
BACKENDS = [folder for folder in PACKAGES if folder.name not in SHARED]
SAMPLERS = {"pymc", "pytensor", "nutpie", "numba", "llvmlite", "numpyro", "jax", "jaxlib"}
HEAVY = {"pandas", "scipy", "xarray", "arviz", "arviz_base", "arviz_stats", "arviz_plots"} | {
    "matplotlib",
    "pyarrow",
    "formulae",
}


def loaded(code: str, folder: Path) -> set[str]:
    """Top-level modules in a fresh interpreter after `code`."""
    script = f"import json, sys\n{code}\nsys.stderr.write(chr(10) + json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stderr.splitlines()[-1])
    assert "nestor" in modules
    return {name.partition(".")[0] for name in modules}


def sources(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


def imports(source: str) -> list[str]:
    """Every absolute name that `source` imports, as module.name; at any depth, types included."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def trespasses(own: str, source: str) -> list[str]:
    """Return imports that a backend's package may not make: another backend, or the core's private names.

    What several backends share lives in packages of its own, which know no backend.
    """
    found = []
    for name in imports(source):
        root, *rest = name.split(".")
        if root.startswith("nestor_") and root not in {own, *SHARED}:
            found.append(name)
        if root == "nestor" and any(part.startswith("_") for part in rest):
            found.append(name)
    return found


def names_of_backends(source: str) -> list[str]:
    """Return what in `source` names a backend's package: an import of one, or its name in the text."""
    imported = [name for name in imports(source) if name.startswith("nestor_")]
    packages = "|".join(re.escape(folder.name) for folder in BACKENDS)
    return imported + re.findall(rf"\b(?:{packages})\b", source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import nestor.backend", []),
        ("from nestor.backend import Draws\nfrom nestor_pymc.model import build", []),
        ("from nestor.data.index import _codes", ["nestor.data.index._codes"]),
        ("def f():\n    import nestor._private.thing", ["nestor._private.thing"]),
        ("if True:\n    from nestor_numpyro import x", ["nestor_numpyro.x"]),
        ("from nestor_common import jax_density", ["nestor_common.jax_density"]),
    ],
)
def test_trespassing_is_seen(source: str, expected: list[str]) -> None:
    assert trespasses("nestor_pymc", source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "import nestor_stan",
        "name = 'nestor_pymc'",
        "# as nestor_numpyro does",
        "import nestor_pymc",
    ],
)
def test_naming_a_backend_is_seen(source: str) -> None:
    assert names_of_backends(source)
    assert names_of_backends("attrs['nestor_version'] = nestor.__version__") == []


def test_the_core_names_no_backends_package() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in sources(CORE)
        if (names := names_of_backends(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_a_backend_imports_public_names_and_no_other_backend(folder: Path) -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in sources(folder)
        if (names := trespasses(folder.name, path.read_text(encoding="utf-8")))
    }
    assert found == {}


def required(folder: Path) -> set[str]:
    """Import names that the package's backend says it requires, read without importing it."""
    for node in ast.walk(ast.parse((folder / "backend.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Tuple):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == "requires" for t in targets):
                return set(ast.literal_eval(node.value))
    raise AssertionError(f"{folder.name} has no backend that says what it requires")


@pytest.mark.parametrize("folder", BACKENDS, ids=lambda folder: folder.name)
def test_a_backend_imports_no_library_that_only_another_requires(folder: Path) -> None:
    others = set().union(*(required(other) for other in BACKENDS if other != folder))
    foreign = (others & SAMPLERS) - required(folder)
    found = {
        name
        for path in sources(folder)
        for name in imports(path.read_text(encoding="utf-8"))
        if name.partition(".")[0] in foreign
    }
    assert found == set()


def test_importing_nestor_is_light(tmp_path: Path) -> None:
    assert loaded("import nestor", tmp_path) & (SAMPLERS | HEAVY) == set()


def test_its_help_is_light(tmp_path: Path) -> None:
    code = (
        "sys.argv = ['nestor', '--help']\n"
        "from nestor.__main__ import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code"
    )
    assert loaded(code, tmp_path) & (SAMPLERS | HEAVY) == set()


def test_no_module_of_the_core_loads_a_sampler(tmp_path: Path) -> None:
    modules = [
        ".".join(path.relative_to(CORE.parent).with_suffix("").parts)
        for path in sources(CORE)
        if path.name != "__init__.py"
    ]
    code = f"from importlib import import_module\nfor name in {modules!r}:\n    import_module(name)"
    # numba and llvmlite may come with ArviZ, which the core is allowed to use.
    assert loaded(code, tmp_path) & (SAMPLERS - {"numba", "llvmlite"}) == set()


def test_looking_at_the_backends_loads_no_sampler(tmp_path: Path) -> None:
    code = (
        "from nestor.engines import registry\n"
        f"assert len(registry.backends()) >= {len(BACKENDS)}\n"
        "for entry in registry.backends().values():\n"
        "    entry.backend.capabilities(), entry.installed, entry.backend.versions()"
    )
    assert loaded(code, tmp_path) & SAMPLERS == set()


def test_a_backend_whose_library_is_not_installed_is_known_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    absent = sorted(set().union(*(required(folder) for folder in BACKENDS)) & SAMPLERS)
    assert absent
    code = (
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        "from nestor.engines import registry\n"
        f"assert len(registry.backends()) >= {len(BACKENDS)}\n"
        "for entry in registry.backends().values():\n"
        f"    assert set(entry.missing) == set(entry.backend.requires) & set({absent!r})\n"
        "    assert entry.installed or entry.install == f\"pip install 'nestor[{entry.name}]'\"\n"
        "assert registry.get('reference').installed"
    )
    loaded(code, tmp_path)
