"""What may touch what: decisions are pure, errors are ours, secrets and other people's machines stay out."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch

from tests.tidy.sources import PACKAGES, ROOT, python_files, text_files

PURE = (
    "ha_broker/state.py", "ha_broker/decide/*.py", "ha_broker/score.py", "ha_broker/board.py",
    "ha_broker/alerts.py", "ha_broker/fence.py", "ha_broker/leave.py",
    "gluster/model.py", "gluster/parse.py", "gluster/plan.py", "gluster/health.py",
    "engine/decide/*.py", "installer/plan.py", "appliance/tools/*.py", "appliance/model/*.py",
)  # fmt: skip
IMPURE_MODULES = {
    "os", "time", "random", "socket", "subprocess", "shutil", "libvirt", "flask", "peewee", "playhouse", "glustercli"
}  # fmt: skip
SECRET_WORDS = "password|passwd|passphrase|secret|token"

HOSTS_OF_NOBODY = (".lab", ".example", ".test", ".invalid", "example.com", "example.org")
FOREIGN_HOSTS_ALLOWED = {
    "libvirt.org": "XML namespaces of domain descriptions",
    "www.w3.org": "XML and SVG namespaces",
    "relaxng.org": "XML namespaces",
    "schemas.dmtf.org": "XML namespaces of OVF",
    "www.ovirt.org": "the same, of oVirt's flavour",
}


def test_decisions_touch_nothing() -> None:
    found = [
        f"{source.name} imports {module}"
        for source in python_files(*PACKAGES)
        if any(fnmatch(source.name, pattern) for pattern in PURE)
        for module in sorted(source.imported())
        if module.split(".")[0] in IMPURE_MODULES or module.startswith("appliance.effects")
    ]
    assert not found, f"Observe first, pass the facts in as data, and let the interpreter act: {found}"


def test_each_foreign_world_has_one_door() -> None:
    doors = {
        "glustercli": ("gluster/adapter*.py",),
        "peewee": ("engine/store/*",),
        "playhouse": ("engine/store/*",),
        "libvirt": ("appliance/effects/*", "ha_broker/monitors/*"),
        "subprocess": ("appliance/effects/*",),
    }
    found = [
        f"{source.name} imports {module}"
        for source in python_files(*PACKAGES)
        for module in sorted(source.imported())
        for world, allowed in doors.items()
        if module.split(".")[0] == world and not any(fnmatch(source.name, pattern) for pattern in allowed)
    ]
    assert not found, f"Go through the one module that knows it ({doors}): {found}"


def test_no_error_is_swallowed() -> None:
    found = [
        f"{source.name}:{node.lineno}"
        for source in python_files(*PACKAGES)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or _only_passes(node))
    ]
    assert not found, f"Name the error, and say with contextlib.suppress and a reason why it may pass unseen: {found}"


def _only_passes(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(statement, ast.Pass) for statement in handler.body)


def test_no_secret_travels_on_a_command_line() -> None:
    option = re.compile(rf"^--?[\w-]*({SECRET_WORDS})(=|$)", re.IGNORECASE)
    assignment = re.compile(rf"\b({SECRET_WORDS})=", re.IGNORECASE)
    found = [
        f"{source.name}:{element.lineno} {element.value!r}"
        for source in python_files(*PACKAGES)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.List | ast.Tuple)
        for element in _words(node)
        if isinstance(element.value, str) and (option.search(element.value) or assignment.search(element.value))
    ]
    assert not found, f"Every process sees argv. Use stdin or the path of a 0600 file (--…-file): {found}"


def _words(node: ast.List | ast.Tuple) -> list[ast.Constant]:
    parts = [part for element in node.elts for part in (element.values if isinstance(element, ast.JoinedStr) else [element])]
    return [part for part in parts if isinstance(part, ast.Constant)]


def test_no_path_of_somebodys_machine_is_written_down() -> None:
    own = re.compile(r"(?<![\w}/.~-])/(?:wor[k]|home/[a-z]+|opt/[a-z]+|tmp/proto)(?:/|\b)")
    found = [f"{name}: {match.group()}" for name, text in text_files() for match in own.finditer(text)]
    assert not found, f"This path exists on one machine only. Take it as an argument, or from appliance/layout.py: {found}"


def test_nobody_is_called_at_home() -> None:
    url = re.compile(r"https?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[a-z]{2,})")
    found = [
        f"{name}: {host}"
        for name, text in text_files()
        if name.split("/")[0] in PACKAGES and not name.endswith((".md", ".service"))
        for host in url.findall(text)
        if host not in FOREIGN_HOSTS_ALLOWED and not host.endswith(HOSTS_OF_NOBODY)
    ]
    assert not found, f"Mirrors come from the machine's own apt and pip configuration; nothing else is called: {found}"


def test_the_lists_of_this_file_still_mean_something() -> None:
    names = [source.name for source in python_files(*PACKAGES)]
    gone = [pattern for pattern in PURE if not any(fnmatch(name, pattern) for name in names)]
    assert not gone, f"These rooms have moved: correct the list in {__file__.removeprefix(str(ROOT))}: {gone}"
