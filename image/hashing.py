"""Hashes of inputs: what decides whether work can be reused (a file's name, its mode and its bytes, nothing else)."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from appliance.codec import encode
from appliance.errors import Refused
from image.recipe import CHECKOUT, DEBIAN_RELEASE, ELEMENTS, PYTHON, Recipe

CHUNK_BYTES = 4 * 1024 * 1024
"""Read size: large enough that hashing is bound by the hash."""

SHORT = 16
"""Characters of a hash that name a folder: 64 bits, far beyond the handful of layers a machine ever holds."""

LAYER_CODE = ("oslayer.py", "machine.py")
"""Our own files that decide the OS layer; named, so that a change elsewhere does not cost an OS build."""

DISK_CODE = ("recipe.py", "tree.py", "boot.py", "initrd.py", "disk.py", "install.sh", "boot/init")
"""Our own files that decide how tree and disk are made."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def combined(parts: Mapping[str, str]) -> str:
    """One hash over named hashes (or short texts)."""
    return hashlib.sha256(json.dumps(dict(sorted(parts.items()))).encode()).hexdigest()


def source_files(folder: Path) -> Iterator[Path]:
    """All files below ``folder`` that belong to the project, in a stable order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def files_sha256(root: Path, paths: Iterable[Path]) -> str:
    """One hash over files: their names below ``root``, whether they are executable, their bytes."""
    return combined({f"{path.relative_to(root)} {path.stat().st_mode & 0o111:o}": file_sha256(path) for path in paths})


def requirement_lines(recipe: Recipe, pyproject: str) -> tuple[str, ...]:
    """The requirements of ``recipe`` as pyproject.toml has them.

    Raises ``Refused`` (``image.requirement-unknown``) when pyproject.toml no longer names one of them.
    """
    lines = {_name(line): line for line in tomllib.loads(pyproject)["project"]["dependencies"]}
    for name in recipe.requirements:
        if name not in lines:
            raise Refused(
                "image.requirement-unknown",
                subject=f"the recipe of the {recipe.kind.value} image",
                reason=f"it needs {name}, which is not a dependency in pyproject.toml",
                remedy="Name it there, or remove it from image/recipe.py.",
            )
    return tuple(lines[name] for name in recipe.requirements)


def group_lines(group: str, pyproject: str) -> tuple[str, ...]:
    """A dependency group of pyproject.toml. Raises ``Refused`` (``image.requirement-unknown``) when it has gone."""
    groups = tomllib.loads(pyproject).get("dependency-groups", {})
    if group not in groups:
        raise Refused(
            "image.requirement-unknown",
            subject=f"the environment {group}",
            reason="pyproject.toml has no dependency group of that name",
            remedy="Name it there, or remove it from image/recipe.py.",
        )
    return tuple(groups[group])


def _name(requirement: str) -> str:
    end = next((index for index, character in enumerate(requirement) if character in "<>=!~[; "), len(requirement))
    return requirement[:end].lower()


def os_sha256(recipe: Recipe) -> str:
    """Hash of everything that decides the OS layer of ``recipe``."""
    pyproject = (CHECKOUT / "pyproject.toml").read_text()
    elements = [ELEMENTS / name for name in ("trivet-base", *recipe.elements) if (ELEMENTS / name).is_dir()]
    here = Path(__file__).resolve().parent
    return combined(
        {
            "release": DEBIAN_RELEASE,
            "python": PYTHON,
            "elements": files_sha256(ELEMENTS, (path for element in elements for path in source_files(element))),
            "names": " ".join(recipe.elements),
            "requirements": "\n".join(requirement_lines(recipe, pyproject)),
            "beside": "\n".join(line for group in recipe.beside for line in (group, *group_lines(group, pyproject))),
            "debian modules": " ".join(recipe.debian_modules),
            "lock": file_sha256(CHECKOUT / "requirements.lock"),
            "code": files_sha256(here, (here / name for name in LAYER_CODE)),
        }
    )


def code_sha256(recipe: Recipe) -> str:
    """Hash of the programs that go into the image of ``recipe``, and of how they get there."""
    here = Path(__file__).resolve().parent
    programs = [path for package in recipe.packages for path in source_files(CHECKOUT / package)]
    return combined(
        {
            "programs": files_sha256(CHECKOUT, [*programs, CHECKOUT / "trivet"]),
            "recipe": json.dumps(encode(recipe)),
            "how": files_sha256(here, (here / name for name in DISK_CODE)),
        }
    )
