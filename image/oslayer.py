"""The OS layer: Debian as diskimage-builder makes it, plus the Python packages. Slow (a minute), rarely changed, cached.

A layer is a folder ``CACHE/os/KIND-HASH`` with ``root/`` (the tree without kernel), ``boot/`` (kernel, initrd, the UEFI
loader) and ``packages.json``. It is made under another name and renamed when it is complete.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance import layout
from appliance.errors import Failed
from appliance.ports import Processes
from image.initrd import engine_initrd
from image.machine import mirrors, network_environment
from image.recipe import CACHE, CHECKOUT, DEBIAN_RELEASE, ELEMENTS, PYTHON, Kind, Recipe
from image.tree import compile_python, inside

Log = Callable[[str], None]

DIB_TIMEOUT_S: Final = 1800.0
"""Takes 65 to 100 s here; a machine behind a slow line downloads 250 MB first."""

EXTRACT_TIMEOUT_S: Final = 600.0
PIP_TIMEOUT_S: Final = 900.0
"""Takes 5 s here; 30 MB have to come over a slow line in time."""

TOOL_TIMEOUT_S: Final = 60.0

PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""Which binary wheels Debian 13 (glibc 2.41) runs; nothing is compiled, so no image needs a compiler."""

STABLE_ABI: Final = "-O2 -DPy_LIMITED_API=0x030b0000 -include string.h"
"""For the C of packages that are built: 3.11 is the first whose stable ABI has buffers, and the oldest that we run on. Its
headers no longer bring ``string.h``, which such a package may have relied on."""

KERNEL_FOLDERS: Final = ("proc", "sys", "dev", "run", "tmp")
"""diskimage-builder's tar leaves these out."""

IDENTITY: Final = (
    "etc/resolv.conf", "etc/hostname", "etc/dib-manifests", "etc/apt/sources.list.d", "etc/network", "etc/.pwd.lock",
    "var/lib/dbus/machine-id", "var/lib/cloud", "var/lib/systemd/random-seed", "vmlinuz", "vmlinuz.old", "initrd.img",
    "initrd.img.old", "lost+found",
)  # fmt: skip
"""What the build machine, or the build itself, left in the tree: useless in an image, or harmful when shared by machines."""


def build_layer(processes: Processes, recipe: Recipe, target: Path, environment: Mapping[str, str], log: Log) -> None:
    """Make the layer of ``recipe`` at ``target``. Whatever an interrupted build left beside it is removed first."""
    making = target.with_name(target.name + ".making")
    discard_tree(processes, making)
    making.mkdir(parents=True)
    tar = run_dib(processes, recipe, making, environment, log)
    root = making / "root"
    root.mkdir()
    argv = ["tar", "-C", str(root), "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", str(tar)]
    processes.run(argv, timeout_s=EXTRACT_TIMEOUT_S)
    tar.unlink()
    for folder in KERNEL_FOLDERS:
        (root / folder).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    install_python(processes, recipe, root, environment, log)
    for group in recipe.beside:
        install_beside(processes, group, root, environment, log)
    forget_identity(root)
    take_boot_files(recipe, root, making / "boot")
    environments = [layout.VENV, *(beside(group) for group in recipe.beside)]
    (making / "packages.json").write_text(json.dumps(list_packages(processes, root, environments), indent=1))
    making.rename(target)


def run_dib(processes: Processes, recipe: Recipe, making: Path, environment: Mapping[str, str], log: Log) -> Path:
    """Run diskimage-builder and return its tar. Its mounts are in a namespace of their own and end with it."""
    found = mirrors()
    venv = Path(sys.executable).parent
    scratch = making / "scratch"
    scratch.mkdir()
    settings = {
        **network_environment(environment),
        "PATH": f"{venv}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "DIB_RELEASE": DEBIAN_RELEASE,
        "DIB_DISTRIBUTION_MIRROR": found.archive,
        "DIB_DEBIAN_SECURITY_MIRROR": found.security,
        "DIB_IMAGE_CACHE": str(CACHE / "dib"),
        "ELEMENTS_PATH": str(ELEMENTS),
        "TMPDIR": str(scratch),
    }
    output = making / "os"
    argv = ["unshare", "--mount", "--propagation", "private", str(venv / "disk-image-create")]
    argv += ["-t", "tar", "-o", str(output), *recipe.elements]
    processes.stream(argv, timeout_s=DIB_TIMEOUT_S, line=log, env=settings)
    shutil.rmtree(scratch)
    shutil.rmtree(output.with_suffix(".d"))
    return output.with_suffix(".tar")


def install_python(processes: Processes, recipe: Recipe, root: Path, environment: Mapping[str, str], log: Log) -> None:
    """Make the image's virtual environment, filled by this machine's pip (it knows how to reach an index)."""
    make_venv = ["/usr/bin/python3", "-m", "venv", "--without-pip", str(layout.VENV)]
    processes.run(inside(root, make_venv), timeout_s=TOOL_TIMEOUT_S)
    packages = root / layout.VENV.relative_to("/") / f"lib/python{PYTHON}/site-packages"
    argv = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:"]
    argv += ["--implementation=cp", f"--python-version={PYTHON}", *(f"--platform={name}" for name in PLATFORMS)]
    argv += ["--target", str(packages), "--constraint", str(CHECKOUT / "requirements.lock"), *requirements(recipe)]
    processes.stream(argv, timeout_s=PIP_TIMEOUT_S, line=log, env=network_environment(environment))
    place_launchers(packages / "bin", root, layout.VENV)
    for pattern in recipe.debian_modules:
        found = sorted((root / "usr/lib/python3/dist-packages").glob(pattern))
        if not found:
            raise Failed(
                "image.debian-module-missing",
                subject=f"Python module {pattern}",
                reason="no Debian package in the image brings it",
                remedy="Add the package to the element's package-installs.yaml.",
            )
        for path in found:
            (packages / path.name).symlink_to(Path("/usr/lib/python3/dist-packages") / path.name)
    compile_python(processes, root, layout.VENV)


def beside(group: str) -> Path:
    """Where the environment of a dependency group is in the image."""
    return layout.VENV.with_name(group)


def install_beside(processes: Processes, group: str, root: Path, environment: Mapping[str, str], log: Log) -> None:
    """An environment of its own for a program that is no library of ours, built here for whatever Python the image has.

    Its C is compiled for CPython's stable ABI, so the interpreter of the image need not be the one of this machine.
    """
    from image.hashing import group_lines  # at run time: hashing hashes this module

    place = beside(group)
    processes.run(inside(root, ["/usr/bin/python3", "-m", "venv", "--without-pip", str(place)]), timeout_s=TOOL_TIMEOUT_S)
    packages = root / place.relative_to("/") / f"lib/python{PYTHON}/site-packages"
    argv = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--no-deps"]
    argv += ["--use-pep517", "--no-cache-dir"]  # a wheel that was built for this machine alone must not come out of it
    argv += ["--no-binary=:all:", "--only-binary=setuptools,wheel", "--target", str(packages)]
    argv += group_lines(group, (CHECKOUT / "pyproject.toml").read_text())
    processes.stream(argv, timeout_s=PIP_TIMEOUT_S, line=log, env={**network_environment(environment), "CFLAGS": STABLE_ABI})
    for module in sorted(packages.rglob("*.cpython-*.so")):
        module.rename(module.with_name(f"{module.name.partition('.')[0]}.abi3.so"))
    place_launchers(packages / "bin", root, place)
    compile_python(processes, root, place)


def place_launchers(made: Path, root: Path, venv: Path) -> None:
    """Move the packages' commands to where the virtual environment ``venv`` of the tree has them, to be run by its own
    interpreter. pip wrote them for the interpreter that it ran under itself."""
    wanted = root / venv.relative_to("/") / "bin"
    for launcher in sorted(made.iterdir()):
        _, _, body = launcher.read_text().partition("\n")
        target = wanted / launcher.name
        target.write_text(f"#!{venv}/bin/python3\n{body}")
        target.chmod(0o755)
    shutil.rmtree(made)


def requirements(recipe: Recipe) -> tuple[str, ...]:
    """The requirements of ``recipe``, as pip takes them."""
    from image.hashing import requirement_lines  # at run time: hashing hashes this module

    return requirement_lines(recipe, (CHECKOUT / "pyproject.toml").read_text())


def forget_identity(root: Path) -> None:
    """Remove what ties the tree to the machine that built it, or what two machines must not share."""
    for name in IDENTITY:
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    # Present and empty: systemd makes an id at the first boot. The name server file stays empty until somebody names one.
    for name in ("etc/machine-id", "etc/resolv.conf"):
        (root / name).write_text("")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (root / "etc/fstab").write_text("")


def take_boot_files(recipe: Recipe, root: Path, boot: Path) -> None:
    """Move kernel and initrd out of the tree: they live on the boot partition only."""
    boot.mkdir()
    kernel = next(iter(sorted((root / "boot").glob("vmlinuz-*"))))
    release = kernel.name.removeprefix("vmlinuz-")
    shutil.copy2(kernel, boot / "vmlinuz")
    shutil.copy2(root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi", boot / "bootx64.efi")
    if recipe.kind is Kind.ENGINE:
        init = Path(__file__).resolve().parent / "boot/init"
        (boot / "initrd").write_bytes(engine_initrd(root, root / "usr/lib/modules" / release, init))
    else:
        shutil.copy2(root / "boot" / f"initrd.img-{release}", boot / "initrd")
    shutil.rmtree(root / "boot")
    (root / "boot").mkdir()


def list_packages(processes: Processes, root: Path, environments: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Names and versions of what is installed: ``{"debian": …, "python": …}``."""
    argv = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\\n"]
    debian = dict(line.split(" ", 1) for line in processes.run(argv, timeout_s=TOOL_TIMEOUT_S).stdout.splitlines())
    script = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    python: dict[str, str] = {}
    for place in environments:
        words = [str(place / "bin/python3"), "-I", "-c", script]
        listing = processes.run(inside(root, words), timeout_s=TOOL_TIMEOUT_S).stdout
        python |= dict(line.split(" ", 1) for line in listing.splitlines())
    return {"debian": debian, "python": dict(sorted(python.items()))}


def discard_tree(processes: Processes, tree: Path) -> None:
    """Remove a tree, never following it out of its own file system (a mount left inside would be another one)."""
    if tree.exists():
        processes.run(["rm", "-rf", "--one-file-system", str(tree)], timeout_s=EXTRACT_TIMEOUT_S)


def read_packages(layer: Path) -> dict[str, dict[str, str]]:
    """The package list of a finished layer."""
    lists: dict[str, dict[str, str]] = json.loads((layer / "packages.json").read_text())
    return lists
