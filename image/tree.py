"""Root trees: commands inside one, and the code layer on top of an OS layer.

A command inside a tree runs in a private mount namespace: what is mounted for it vanishes with it, also after ``kill -9``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.ports import Processes
from image.recipe import CHECKOUT, Kind, Recipe

COPY_TIMEOUT_S: Final = 120.0
"""Hard-linking a tree takes 1 s here; a slow disk gets a hundred times that."""

COMPILE_TIMEOUT_S: Final = 300.0
"""Compiling takes seconds; the limit only keeps a hung interpreter from hanging the build."""

PACKAGES: Final = ("appliance", "gluster", "ha_broker", "engine", "image", "installer")

INSIDE: Final = """
tree=$1; shift
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/run"
mount -t tmpfs tmpfs "$tree/tmp"
while [ "$1" != -- ]; do
    mkdir -p "$tree$2"
    mount --bind "$1" "$tree$2"
    shift 2
done
shift
exec chroot "$tree" "$@"
"""
"""Run by sh in a new mount namespace: TREE [FOLDER INSIDE]… -- COMMAND…; bound folders appear below /run or /tmp."""


def inside(tree: Path, argv: Sequence[str], binds: Sequence[tuple[Path, str]] = ()) -> list[str]:
    """``argv`` to run in ``tree``, with folders of the machine bound at paths below the tree's /run or /tmp."""
    pairs = [word for outer, inner in binds for word in (str(outer), inner)]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", INSIDE, "sh", str(tree), *pairs, "--", *argv]


def compile_python(processes: Processes, tree: Path, folder: Path) -> None:
    """Compile all modules below ``folder`` of ``tree`` with the tree's own Python.

    The result is checked against nothing at run time (``unchecked-hash``): an image's files never change, and the check
    would cost a ``stat`` and a read for each module at each start.
    """
    argv = ["/usr/bin/python3", "-I", "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    processes.run(inside(tree, [*argv, str(folder)]), timeout_s=COMPILE_TIMEOUT_S)


def link_tree(processes: Processes, source: Path, target: Path) -> None:
    """A copy of ``source`` that shares its files (hard links). Files in it must be replaced, never written in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    processes.run(["cp", "-al", str(source), str(target)], timeout_s=COPY_TIMEOUT_S)


def add_code(processes: Processes, tree: Path, recipe: Recipe, engine_files: Sequence[Path] = ()) -> None:
    """Put our programs, their units and (on a node) the engine image's files into ``tree``."""
    processes.run([str(CHECKOUT / "image" / "install.sh"), str(tree)], timeout_s=COPY_TIMEOUT_S)
    app = tree / "usr/lib/trivet/app"
    for package in app.iterdir():
        if package.is_dir() and package.name not in recipe.packages:
            shutil.rmtree(package)
    _drop_units(tree, recipe)
    _add_files(processes, tree, recipe)
    compile_python(processes, tree, Path("/usr/lib/trivet/app"))
    present = [unit for unit in recipe.units if (tree / "usr/lib/systemd/system" / unit).is_file()]
    if present:
        processes.run(["systemctl", f"--root={tree}", "--quiet", "enable", *present], timeout_s=COPY_TIMEOUT_S)
    images = tree / "usr/lib/trivet/images"
    if recipe.kind is Kind.NODE:
        images.mkdir(parents=True, exist_ok=True)
    for file in engine_files:
        how = "-l" if same_file_system(file, images) else "--sparse=always"
        processes.run(["cp", how, str(file), str(images)], timeout_s=COPY_TIMEOUT_S)


def _drop_units(tree: Path, recipe: Recipe) -> None:
    """Take out the units of the other image: their programs are not here."""
    units = tree / "usr/lib/systemd/system"
    for package in PACKAGES:
        for unit in sorted((CHECKOUT / package / "units").rglob("*")):
            place = units / unit.relative_to(CHECKOUT / package / "units")
            if package not in recipe.unit_packages and unit.is_file():
                place.unlink(missing_ok=True)
                if place.parent != units and place.parent.is_dir() and not any(place.parent.iterdir()):
                    place.parent.rmdir()


def _add_files(processes: Processes, tree: Path, recipe: Recipe) -> None:
    """Put a package's configuration files where its ``files/INSTALL`` says (source and destination, one pair a line)."""
    for package in recipe.unit_packages:
        folder = CHECKOUT / package / "files"
        if not (folder / "INSTALL").is_file():
            continue
        lines = (line.partition("#")[0].split() for line in (folder / "INSTALL").read_text().splitlines())
        for source, destination in (words for words in lines if words):
            place = tree / destination.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # it may share its bytes with the OS layer
            shutil.copyfile(folder / source, place)
            place.chmod(0o644)
    unshare_file(tree / "etc/passwd", tree / "etc/group", tree / "etc/shadow", tree / "etc/gshadow")
    processes.run(["systemd-sysusers", f"--root={tree}"], timeout_s=COPY_TIMEOUT_S)


def unshare_file(*paths: Path) -> None:
    """Give each file bytes of its own, before something writes into it."""
    for path in paths:
        copy = path.with_name(path.name + ".copy")
        shutil.copy2(path, copy)
        status = path.stat()
        os.chown(copy, status.st_uid, status.st_gid)
        copy.rename(path)


def same_file_system(one: Path, other: Path) -> bool:
    """Whether a hard link between them is possible."""
    return one.stat().st_dev == other.stat().st_dev
