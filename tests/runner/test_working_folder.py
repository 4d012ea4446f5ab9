"""Files that lie beside the data have the names of libraries, and take nobody's place."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("fake_engines")

FORMULA = "y ~ x + (x || g/h)"
LIBRARIES = ("random", "json", "numpy", "pandas", "pymc", "pickle", "fake_engines")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit", "data.csv", FORMULA, "--engine", "exact", "--draws", "20"), "exact:iid@"),
        (
            ("calibrate", "data.csv", FORMULA, "--engine", "exact", "--simulations", "2"),
            "2 simulations",
        ),
        (("conformance", "exact", "--tier", "api", "--only", "loads_nothing"), "exact conforms"),
    ],
)
def test_every_process_imports_what_is_installed(tmp_path, small_table, arguments, said):
    small_table.to_csv(tmp_path / "data.csv", index=False)
    for name in LIBRARIES:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the wrong {name} was imported')")
    # As `python -m nestor`, which would look here first; and the worker of each command.
    done = subprocess.run(
        [sys.executable, "-m", "nestor", *arguments],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "wrong" not in done.stdout + done.stderr
    assert done.returncode in (0, 3), done.stderr  # 3: draws so few show nothing
    assert said in done.stdout
