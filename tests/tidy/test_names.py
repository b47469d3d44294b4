"""The six top-level names are ours, in this process and in every environment that is made for us."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tomllib
from pathlib import Path

import pytest

from appliance.version import VERSION
from tests.tidy.sources import PACKAGES, ROOT, python_files


@pytest.mark.parametrize("name", PACKAGES)
def test_a_top_level_name_resolves_to_this_tree(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin) == ROOT / name / "__init__.py", (
        f"`import {name}` gives {spec.origin}: something installed in build/venv hides our package. Uninstall it there."
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_no_dependency_brings_one_of_our_names(name: str) -> None:
    owners = importlib.metadata.packages_distributions().get(name, [])
    assert not owners, f"{owners} bring a top-level `{name}`: drop that dependency, ours and theirs cannot live together."


def test_the_version_is_written_once_and_repeated_truly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION, "Set pyproject.toml and appliance/version.py to the same version."
    assert f"[{VERSION}]" in (ROOT / "CHANGELOG.md").read_text(), f"Add a section [{VERSION}] to CHANGELOG.md."


def test_class_names_say_what_a_thing_is() -> None:
    import ast

    empty = ("Manager", "Helper", "Utils", "Util")
    found = [
        f"{source.name}: {node.name}"
        for source in python_files(*PACKAGES)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(empty)
    ]
    assert not found, f"Name these by what they are or do, in the field's own words: {found}"
