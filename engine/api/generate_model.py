"""Derive ``model.json`` from the installed ovirt-engine-sdk-python: run at development time, the result is committed.

    build/venv/bin/python -m engine.api.generate_model

The SDK is itself generated from oVirt's API model (Apache-2.0), and is what clients really parse our answers with.
Its sources
are read as syntax trees: writers give names, XML form and item names; readers give enum types and link relations;
services give
paths, methods and actions.
"""

from __future__ import annotations

import ast
import gzip
import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

MODEL_FILE = Path(__file__).with_name("model.json.gz")
DISTRIBUTION = "ovirt-engine-sdk-python"
PRIMITIVES = {"string", "boolean", "integer", "decimal", "date"}
PLAIN = {"str": "string", "bool": "boolean", "int": "integer", "float": "decimal", "list": "list"}
"""Python's type in the SDK → the model's primitive."""
METHODS = ("list", "get", "add", "update", "remove")


def sources() -> Path:
    """The folder of the installed SDK."""
    found = importlib.util.find_spec("ovirtsdk4")
    if found is None or found.origin is None:
        raise SystemExit(f"{DISTRIBUTION} is not installed: make dev")
    return Path(found.origin).parent


def classes(file: Path) -> dict[str, ast.ClassDef]:
    """All classes of a module by name."""
    return {node.name: node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)}


def method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """A method of a class."""
    return next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == name), None)


def calls(node: ast.AST) -> list[ast.Call]:
    """All calls below ``node``."""
    return [item for item in ast.walk(node) if isinstance(item, ast.Call)]


def called(call: ast.Call) -> tuple[str, str]:
    """(object, function) of ``object.function(…)``."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id, function.attr
    return "", ""


def texts(call: ast.Call) -> list[str]:
    """The literal texts among a call's arguments."""
    return [item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def reader_kinds(reader: ast.ClassDef) -> dict[str, str]:
    """Attribute → its type where the writer does not tell: enums, and XML attributes that are numbers."""
    found: dict[str, str] = {}
    for node in ast.walk(reader):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute) and isinstance(node.value, ast.Call):
            owner, function = called(node.value)
            if owner == "Reader" and function in {"read_enum", "read_enums", "parse_enum"}:
                kind = node.value.args[0]
                assert isinstance(kind, ast.Attribute)
                found[node.targets[0].attr] = kind.attr
            elif owner == "types":
                found[node.targets[0].attr] = function
            elif owner == "Reader" and function.removeprefix("parse_") in PRIMITIVES:  # XML attributes that are not text
                found[node.targets[0].attr] = function.removeprefix("parse_")
    return found


def reader_links(reader: ast.ClassDef) -> dict[str, str]:
    """Attribute → link relation, as ``_process_link`` knows them."""
    function = method(reader, "_process_link")
    found: dict[str, str] = {}
    for node in ast.walk(function) if function else ():
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            relation = node.test.comparators[0]
            if not isinstance(relation, ast.Constant):
                continue
            for inner in ast.walk(ast.Module(body=node.body, type_ignores=[])):
                if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Attribute):
                    target = inner.targets[0]
                    if isinstance(target.value, ast.Name) and target.value.id == "obj":
                        found[target.attr] = str(relation.value)
    return found


def owner_attribute(call: ast.Call) -> str:
    """``x`` of the first ``obj.x`` among the arguments (through ``.value`` and comprehensions)."""
    for item in ast.walk(call):
        if isinstance(item, ast.Attribute) and isinstance(item.value, ast.Name) and item.value.id == "obj":
            return item.attr
    return ""


def attributes(writer: ast.FunctionDef, enums: dict[str, str], links: dict[str, str]) -> list[dict[str, Any]]:
    """The attributes of a struct in the order in which they are written."""
    rows: dict[str, dict[str, Any]] = {}
    for call in calls(writer):
        owner, function = called(call)
        name = owner_attribute(call)
        if owner == "writer" and function == "write_attribute":
            tag = texts(call)[0]
            rows.setdefault(tag, {"name": tag, "tag": tag, "kind": "string", "xml": "attribute"})
        elif owner == "Writer" and name:
            kind = function.removeprefix("write_").removesuffix("s") if function != "write_strings" else "string"
            row: dict[str, Any] = {"name": name, "tag": texts(call)[0], "kind": kind}
            if function.endswith("s"):
                row["many"] = [*texts(call), texts(call)[0]][1]
            rows[name] = row
        elif owner.endswith("Writer") and function in {"write_one", "write_many"} and name:
            row = {"name": name, "tag": texts(call)[-1], "kind": owner.removesuffix("Writer")}
            if function == "write_many":
                row["many"] = texts(call)[0]
            rows[name] = row
    for node in ast.walk(writer):  # lists of plain values: an element around them, one element each
        if isinstance(node, ast.If) and any(isinstance(inner, ast.For) for inner in node.body):
            name = next(item.attr for item in ast.walk(node.test) if isinstance(item, ast.Attribute))
            outer, inner_tag = (texts(call)[0] for call in calls(node) if called(call)[1] in {"write_start", "write_string"})
            rows[name] = {"name": name, "tag": outer, "kind": "string", "many": inner_tag}
    for name, enum in enums.items():
        if name in rows:
            rows[name]["kind"] = enum
    for name, relation in links.items():
        if name in rows:
            rows[name]["rel"] = relation
    ordered = sorted(rows.values(), key=lambda row: (row.get("xml") != "attribute",))
    for row in ordered:
        if row["kind"] not in PRIMITIVES and row["kind"] == row["kind"].lower():
            raise SystemExit(f"unknown kind {row}")
    return ordered


def model_types(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(structs, enums) of the model."""
    writers, readers = classes(folder / "writers.py"), classes(folder / "readers.py")
    structs: dict[str, Any] = {}
    for name, node in writers.items():
        if not name.endswith("Writer") or (one := method(node, "write_one")) is None:
            continue
        kind = name.removesuffix("Writer")
        reader = readers[f"{kind}Reader"]
        many = method(node, "write_many")
        singular = next(text for call in [one] for text in _defaults(call) if text)
        plural = _defaults(many)[-1] if many else singular
        structs[kind] = {
            "singular": singular,
            "plural": plural,
            "attributes": attributes(one, reader_kinds(reader), reader_links(reader)),
        }
    enums = {
        name: [_text(item.value) for item in node.body if isinstance(item, ast.Assign)]
        for name, node in classes(folder / "types.py").items()
        if any(isinstance(base, ast.Name) and base.id == "Enum" for base in node.bases)
    }
    return structs, enums


def _text(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant)
    return str(node.value)


def _defaults(function: ast.FunctionDef) -> list[str]:
    """The texts assigned to ``singular`` and ``plural`` where they are not given."""
    return [
        node.value.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


def model_services(folder: Path) -> dict[str, Any]:
    """Each service: its methods, its actions and its locators (path → service)."""
    services: dict[str, Any] = {}
    for name, node in classes(folder / "services.py").items():
        row: dict[str, Any] = {"methods": [], "actions": [], "locators": {}, "parameters": {}}
        for item in node.body:
            if not isinstance(item, ast.FunctionDef):
                continue
            inner = calls(item)
            if item.name in METHODS:
                row["methods"].append(item.name)
                row["parameters"][item.name] = parameters(item)
            for call in inner:
                if called(call) == ("self", "_internal_action") and len(call.args) > 1:
                    action = texts(call)[0]
                    if action not in row["actions"]:
                        row["actions"].append(action)
                    row["parameters"].setdefault(action, {}).update(parameters(item))
                if isinstance(call.func, ast.Name) and call.func.id.endswith("Service") and item.name.endswith("_service"):
                    path = next((text.removeprefix("%s/") for c in ast.walk(call) for text in _format(c)), "{id}")
                    row["locators"]["{id}" if path == "%s" else path] = call.func.id.removesuffix("Service")
        services[name.removesuffix("Service")] = row
    return services


def parameters(function: ast.FunctionDef) -> dict[str, str]:
    """A method's parameters: name → primitive, enum or struct (lists: with ``[]``)."""
    for call in calls(function):
        if called(call) == ("Service", "_check_types") and isinstance(call.args[0], ast.List):
            found = {}
            for row in call.args[0].elts:
                assert isinstance(row, ast.Tuple)
                name, _, kind = row.elts
                many = isinstance(kind, ast.List)
                one = kind.elts[0] if isinstance(kind, ast.List) else kind
                plain = one.attr if isinstance(one, ast.Attribute) else PLAIN.get(ast.unparse(one), "")
                found[_text(name).rstrip("_")] = plain + "[]" * many
            return found
    return {}


KINDS = {
    "ClusterExternalProviders": "ExternalProvider",
    "ExternalComputeResources": "ExternalComputeResource",
    "ExternalDiscoveredHosts": "ExternalDiscoveredHost",
    "ExternalHost": "ExternalHost",
    "ExternalHosts": "ExternalHost",
    "ExternalHostGroups": "ExternalHostGroup",
    "GlusterBricks": "GlusterBrick",
    "HostCpuUnits": "HostCpuUnit",
    "HostDevice": "HostDevice",
    "HostDevices": "HostDevice",
    "HostNic": "HostNic",
    "HostNics": "HostNic",
    "HostNumaNodes": "NumaNode",
    "HostStorage": "HostStorage",
    "OpenstackVolumeTypes": "OpenStackVolumeType",
    "OperatingSystems": "OperatingSystemInfo",
    "System": "Api",
    "SystemOption": "SystemOption",
    "TemplateDisks": "Disk",
    "VmHostDevice": "HostDevice",
    "VmHostDevices": "HostDevice",
}
"""Services whose struct the sources do not tell: nothing is written through them, and their paths name something else."""


def service_kinds(services: dict[str, Any], structs: dict[str, Any]) -> dict[str, str]:
    """Service → the struct of what it answers: told by what it takes, by its items, or by the last word of its path."""
    found = dict(KINDS)
    plurals = {row["plural"].replace("_", ""): kind for kind, row in structs.items()}
    at: dict[str, set[str]] = {}
    owners: dict[str, str] = {}
    for owner, row in services.items():
        for path, name in row["locators"].items():
            at.setdefault(name, set()).add(path)
            if path == "{id}":
                owners[name] = owner
    for name, row in services.items():
        given = [kind for method in ("add", "update") for kind in row["parameters"].get(method, {}).values()]
        found.setdefault(name, next((kind for kind in given if kind in structs), ""))
    for _ in range(2):  # what a collection knows, its items know, and the other way round
        for name, row in services.items():
            kinds = {plurals[path] for path in at.get(name, ()) if path in plurals}
            by_path = kinds.pop() if len(kinds) == 1 else ""
            found[name] = found[name] or found.get(row["locators"].get("{id}", ""), "") or by_path
            found[name] = found[name] or found.get(owners.get(name, ""), "")
    return found


def _format(node: ast.AST) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) and "%s/" in node.value else []


def generate() -> dict[str, Any]:
    """The whole model."""
    folder = sources()
    structs, enums = model_types(folder)
    services = model_services(folder)
    for name, kind in service_kinds(services, structs).items():
        services[name]["kind"] = kind
    return {
        "origin": f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}",
        "licence": "Apache-2.0",
        "structs": structs,
        "enums": enums,
        "services": services,
    }


def main() -> None:
    """Write the model beside this file. The same input gives the same bytes."""
    text = json.dumps(generate(), separators=(",", ":"), sort_keys=False)
    MODEL_FILE.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
