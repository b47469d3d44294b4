"""What a newcomer and CI rely on: make, the readme, the installed tree, and that nothing is skipped in silence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from appliance import layout
from tests.tidy.sources import PACKAGES, ROOT

TARGETS = ("help", "dev", "run", "stop", "status", "test", "check", "bench", "image", "sim", "install")


def run(*argv: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(argv, cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=50, check=False)


def test_make_alone_lists_every_target() -> None:
    done = run("make")
    assert done.returncode == 0
    assert tuple(re.findall(r"^  make (\w+) +\S", done.stdout, re.MULTILINE)) == TARGETS


def test_ci_runs_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make run" in readme
    assert "make test" in readme
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("exec make test")


def test_every_command_of_make_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [target for target in TARGETS if f"make {target}" not in readme]
    assert not missing, f"Say in README.md what these do: {missing}"


def test_make_dev_costs_nothing_the_second_time() -> None:
    assert run("image/dev.sh").returncode == 0
    done = run("image/dev.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "It does work on each call: correct its stamp."


def test_make_dev_knows_its_options() -> None:
    done = run("image/dev.sh", "--no-such-option")
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    wanted = {re.split(r"[<>=~ ]", line)[0].lower() for line in lines}
    locked = {line.split("==")[0].lower() for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    assert not wanted - locked, f"Run `image/dev.sh --lock`: {wanted - locked}"


def test_the_installed_tree_is_where_the_layout_says(tmp_path: Path) -> None:
    app = tmp_path / str(layout.APP).lstrip("/")
    (app / "appliance").mkdir(parents=True)
    (app / "appliance/of_an_older_version.py").write_text("")
    done = run("make", "install", f"DESTDIR={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in app.iterdir()} == {*PACKAGES, "trivet", "LICENSE"}
    assert not (app / "appliance/of_an_older_version.py").exists()
    assert not list(app.rglob("__pycache__"))
    assert (tmp_path / "usr/bin/trivet").resolve() == app / "trivet"
    assert os.access(app / "trivet", os.X_OK)
    shipped = {path.name for package in PACKAGES for path in (ROOT / package).rglob("units/*.service")}
    assert {path.name for path in (tmp_path / "usr/lib/systemd/system").iterdir()} >= shipped


@pytest.mark.parametrize("destdir", ["", "/no/such/folder", "/"])
def test_installing_into_nowhere_or_here_is_refused(destdir: str) -> None:
    done = run("image/install.sh", destdir)
    assert done.returncode == 2
    assert "code: install." in done.stderr


def test_make_sim_takes_seed_and_number() -> None:
    done = run("make", "-n", "sim", "SEED=7", "N=3")
    assert './trivet ha sim --seed "7" --count "3"' in done.stdout


SKIPPING = """
import pytest

def test_that_runs(): pass

@pytest.mark.skip(reason="no KVM here")
def test_that_does_not(): pass

def test_that_gives_up(): pytest.skip("no root here")
"""


@pytest.mark.parametrize(("ci", "status", "summary"), [("", 0, "1 passed, 3 skipped"), ("true", 2, "1 error")])
def test_a_skipped_module_fails_in_ci(tmp_path: Path, ci: str, status: int, summary: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_module.py").write_text("import pytest\npytest.skip('no libvirt', allow_module_level=True)\n")
    (tmp_path / "tests/test_single.py").write_text(SKIPPING)
    done = _pytest(tmp_path, ci)
    assert done.returncode == status, done.stdout
    assert summary in done.stdout


@pytest.mark.parametrize(
    ("ci", "status", "summary"), [("", 0, "1 passed, 2 skipped"), ("true", 1, "1 failed, 1 passed, 1 error")]
)
def test_a_skipped_test_fails_in_ci(tmp_path: Path, ci: str, status: int, summary: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_single.py").write_text(SKIPPING)
    done = _pytest(tmp_path, ci)
    assert done.returncode == status, done.stdout
    assert summary in done.stdout
    assert "no KVM here" in done.stdout


def _pytest(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests/conftest.py", folder / "tests/conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {"CI": ci} if ci else {}
    return run(sys.executable, "-I", "-m", "pytest", "-rA", "-p", "no:cacheprovider", cwd=folder, **environment)
