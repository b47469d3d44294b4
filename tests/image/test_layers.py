"""The OS layer and the tree: what goes in, what must not stay in, and what names them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from appliance import layout
from appliance.errors import Refused
from image import hashing, machine
from image.oslayer import beside, forget_identity, place_launchers
from image.recipe import CHECKOUT, ELEMENTS, ENGINE, NODE, RECIPES, Recipe
from image.tree import inside, unshare_file

PYPROJECT = (CHECKOUT / "pyproject.toml").read_text()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=[kind.value for kind in RECIPES])
def test_what_a_recipe_names_exists(recipe: Recipe) -> None:
    assert hashing.requirement_lines(recipe, PYPROJECT)
    assert all((CHECKOUT / package).is_dir() for package in (*recipe.packages, *recipe.unit_packages))
    assert set(recipe.unit_packages) <= set(recipe.packages)
    for unit in recipe.units:
        assert [package for package in recipe.unit_packages if (CHECKOUT / package / "units" / unit).is_file()], unit


def test_a_requirement_that_the_project_dropped_is_refused() -> None:
    with pytest.raises(Refused, match="needs argon2-cffi") as refused:
        hashing.requirement_lines(ENGINE, '[project]\ndependencies = ["flask"]\n')
    assert refused.value.code == "image.requirement-unknown"


def test_the_engine_has_no_hypervisor_and_no_compiler() -> None:
    listed = set(yaml.safe_load((ELEMENTS / "trivet-engine/package-installs.yaml").read_text()))
    listed |= set(yaml.safe_load((ELEMENTS / "trivet-base/package-installs.yaml").read_text()))
    listed.remove("qemu-guest-agent")  # the cloud guest's; it runs in the guest
    assert not {name for name in listed if name.startswith(("qemu", "libvirt", "gluster", "gcc"))}


@pytest.mark.parametrize("hook", sorted(ELEMENTS.glob("*/*.d/*")), ids=lambda hook: f"{hook.parent.parent.name}-{hook.name}")
def test_every_hook_stops_at_its_first_error(hook: Path) -> None:
    if hook.parent.name == "environment.d":
        return  # sourced, not run
    assert os.access(hook, os.X_OK)
    assert "set -eu" in hook.read_text() and "pipefail" in hook.read_text()


def test_a_changed_file_or_mode_changes_the_hash(tmp_path: Path) -> None:
    file = tmp_path / "hook"
    file.write_text("a")
    hashes = {hashing.files_sha256(tmp_path, hashing.source_files(tmp_path))}
    file.write_text("b")
    hashes.add(hashing.files_sha256(tmp_path, hashing.source_files(tmp_path)))
    file.chmod(0o755)
    hashes.add(hashing.files_sha256(tmp_path, hashing.source_files(tmp_path)))
    file.rename(tmp_path / "other")
    hashes.add(hashing.files_sha256(tmp_path, hashing.source_files(tmp_path)))
    assert len(hashes) == 4


def test_compiled_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/a.cpython-313.pyc").write_text("x")
    (tmp_path / "a.py").write_text("x")
    assert [path.name for path in hashing.source_files(tmp_path)] == ["a.py"]


def test_both_images_differ_in_os_and_code() -> None:
    assert hashing.os_sha256(NODE) != hashing.os_sha256(ENGINE)
    assert hashing.code_sha256(NODE) != hashing.code_sha256(ENGINE)


def test_nothing_of_the_build_machine_or_shared_by_all_machines_stays(tmp_path: Path) -> None:
    for folder in ("etc/ssh", "etc/dib-manifests", "etc/apt/sources.list.d", "var/lib/cloud/seed"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("etc/ssh/ssh_host_rsa_key", "etc/dib-manifests/dib_environment", "etc/machine-id", "etc/hostname"):
        (tmp_path / file).write_text("secret or shared")
    (tmp_path / "etc/resolv.conf").symlink_to("/etc/hostname")
    forget_identity(tmp_path)
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == [
        "apt",
        "fstab",
        "hosts",
        "machine-id",
        "resolv.conf",
        "ssh",
    ]
    assert (tmp_path / "etc/machine-id").read_bytes() == b"" and list((tmp_path / "etc/ssh").iterdir()) == []
    assert not (tmp_path / "etc/resolv.conf").is_symlink() and not (tmp_path / "var/lib/cloud").exists()


def test_launchers_are_the_image_interpreters(tmp_path: Path) -> None:
    made, wanted = tmp_path / "made", tmp_path / "usr/lib/trivet/venv/bin"
    made.mkdir()
    wanted.mkdir(parents=True)
    (made / "gunicorn").write_text("#!/build/machine/python3.11\nimport sys\n")
    place_launchers(made, tmp_path, layout.VENV)
    assert (wanted / "gunicorn").read_text() == "#!/usr/lib/trivet/venv/bin/python3\nimport sys\n"
    assert (wanted / "gunicorn").stat().st_mode & stat.S_IXUSR and not made.exists()


def test_a_program_beside_ours_is_pinned_and_where_its_unit_looks() -> None:
    for group in (group for recipe in RECIPES.values() for group in recipe.beside):
        assert all("==" in line for line in hashing.group_lines(group, PYPROJECT)), "exactly one version, no lock needed"
    unit = (CHECKOUT / "appliance/units/trivet-imageio.service").read_text()
    assert f"ExecStart={beside('imageio')}/bin/python3 -I {beside('imageio')}/bin/ovirt-imageio " in unit
    assert beside("imageio") == layout.IMAGEIO
    with pytest.raises(Refused, match="no dependency group"):
        hashing.group_lines("imageio", "[project]\n")


def test_a_file_that_is_written_no_longer_shares_its_bytes(tmp_path: Path) -> None:
    layer, tree = tmp_path / "layer", tmp_path / "tree"
    layer.write_text("root:*")
    tree.hardlink_to(layer)
    tree.chmod(0o640)
    unshare_file(tree)
    tree.write_text("changed")
    assert layer.read_text() == "root:*" and stat.S_IMODE(tree.stat().st_mode) == 0o640


def test_only_what_reaches_the_network_is_passed_on() -> None:
    environment = {
        "PIP_INDEX_URL": "i",
        "https_proxy": "p",
        "SSL_CERT_FILE": "c",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PYTHONPATH": "x",
    }
    assert machine.network_environment(environment) == {"PIP_INDEX_URL": "i", "https_proxy": "p", "SSL_CERT_FILE": "c"}


def test_mirrors_are_read_from_the_files_apt_reads(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian trixie main\n")
    (tmp_path / "sources.list.d/security.list").write_text("deb http://sec.example/debian trixie-security main\n")
    (tmp_path / "sources.list.d/old.list.save").write_text("deb http://old.example/debian bookworm-security main\n")
    assert machine.mirrors(tmp_path).security == "http://sec.example/debian"


def test_a_command_in_a_tree_runs_in_a_mount_namespace_of_its_own() -> None:
    argv = inside(Path("/tree"), ["true"], ((Path("/folder"), "/run/verify"),))
    assert argv[:4] == ["unshare", "--mount", "--propagation", "private"]
    assert argv[-5:] == ["/tree", "/folder", "/run/verify", "--", "true"]
