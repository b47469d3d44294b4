"""Every operation of the OpenAPI document with input that nobody would write: never a 5xx, and nothing without a login.

Seeded, so that a finding comes back: a failure names operation, seed and what was sent.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from engine.api import openapi
from engine.api.registry import nouns
from engine.builtin import BLANK_TEMPLATE
from engine.core import Engine
from engine.store.entity import ENTITY, Entity
from tests.engine import world

TYPED = "application/vnd.trivet+json"
TURNS = 6
"""Questions for each operation: the whole test stays under a minute."""
DEEP = 4
"""Levels of a body: deeper ones are cut off at the door anyway."""
ATTRIBUTES = 5
TEXTS = (
    "", " ", "a", "web", "x" * 300, "ÄÖÜ ß", "\u0000", "'; DROP TABLE entity; --", "../../etc/passwd", "${7*7}", "<a>&", "*",
    "null", "\ud7ff", "0", "-1", "true", "00000000-0000-0000-0000-000000000000", "name=a and (", "sortby",
    "page 99999999999999999999", "52:54:00:00:00:01", "198.18.0.1",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30)
WRONG: tuple[Any, ...] = (None, [], {}, [[]], "text", 1, 1.5, True, {"id": None}, {"id": {"id": "a"}}, [None])
ORDER = ("get", "put", "post", "delete")
"""What takes rights and objects away comes last."""
UNREADABLE = (b"", b"{", b"[]", b"null", b"\xff\xfe", b"<vm>", b'{"name": "a", "name": "b"}', b"[" * 5000)
READABLE_LEAST = 300
"""Answers below 400. Fewer would mean that the door refuses everything, and nothing behind it was tried."""

NUMBERED = re.compile(r"(_id)[0-9]*$")
Operation = tuple[str, str, Mapping[str, Any]]
Known = dict[str, list[str]]
"""kind → ids of what there is."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(openapi.build(nouns())))  # type: ignore[no-any-return]


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """(method, path, operation), in :data:`ORDER`."""
    found = [
        (method, path, entry[method]) for path, entry in document["paths"].items() for method in ORDER if method in entry
    ]
    return sorted(found, key=lambda one: (ORDER.index(one[0]), one[1]))


class Inventor:
    """Makes up values for the schemas of ``document`` out of one seed."""

    def __init__(self, document: Mapping[str, Any], known: Known, seed: str) -> None:
        self.random = random.Random(seed)
        self._schemas = document["components"]["schemas"]
        self._known = known
        self._ids = [one for ids in known.values() for one in ids]

    def value(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        if self.random.random() < 0.08:
            return self.random.choice(WRONG)
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        if "enum" in schema:
            return self.random.choice([*schema["enum"], "nonsense"])
        kind = schema.get("type", "string")
        if kind == "array":
            return [self.value(schema["items"], depth + 1) for _ in range(self.random.randrange(3))]
        if kind == "object":
            return self._object(schema.get("properties", {}), depth)
        return self._plain(kind)

    def _object(self, properties: Mapping[str, Any], depth: int) -> dict[str, Any]:
        if depth >= DEEP:
            return {"id": self.text()}
        names = self.random.sample(sorted(properties), min(len(properties), self.random.randint(1, ATTRIBUTES)))
        wanted = {name for name in ("name", "id") if name in properties and self.random.random() < 0.5}
        return {name: self.value(properties[name], depth + 1) for name in {*names, *wanted}}

    def _plain(self, kind: str) -> Any:
        choices: dict[str, Callable[[], Any]] = {
            "integer": lambda: self.random.choice(NUMBERS),
            "number": lambda: self.random.choice((0.0, -1.5, 1e308, 3)),
            "boolean": lambda: self.random.random() < 0.5,
        }
        return choices.get(kind, self.text)()

    def text(self) -> str:
        return self.random.choice([*TEXTS, *self._ids])

    def path(self, path: str) -> str:
        """Ids of what there is, mostly; else what is none."""
        while "{" in path:
            head, _, rest = path.partition("{")
            name, _, rest = rest.partition("}")
            fitting = self._known.get(NUMBERED.sub("", name)) or self._ids
            path = head + (self.random.choice(fitting) if self.random.random() < 0.9 else "no-such-id") + rest
        return path

    def query(self, operation: Mapping[str, Any]) -> dict[str, str]:
        given = [one for one in operation["parameters"] if self.random.random() < 0.3]
        return {one["name"]: str(self.value(one["schema"])) for one in given}


@pytest.fixture
def known(engine: Engine) -> Known:
    """Ids of everything that there is at the begin, the same each time: what is built in, and two VMs with their parts."""
    entities = engine.store.entities
    for number in (1, 2):
        cluster = {"cluster": (world.CLUSTER.id,), "template": (BLANK_TEMPLATE,)}
        entities.add(Entity("vm", f"vm-{number}", f"web{number}", {"memory": 2**30}, cluster, status="down"))
        image = {"image_id": f"i-{number}", "format": "raw", "provisioned_size": 2**20}
        domain = entities.list("storage_domain")[0].id
        entities.add(Entity("disk", f"disk-{number}", "root", image, {"storage_domains": (domain,)}, status="ok"))
        parent = ("vm", f"vm-{number}")
        entities.add(Entity("disk_attachment", f"disk-{number}", "", {}, {"disk": (f"disk-{number}",)}, parent))
        mac = {"mac": {"address": f"56:6f:00:00:00:0{number}"}}
        entities.add(Entity("nic", f"nic-{number}", "eth0", mac, parent=parent))
        entities.add(Entity("snapshot", f"snapshot-{number}", "", {"description": "before"}, parent=parent, status="ok"))
    rows = engine.store.connection.rows(ENTITY.select(ENTITY.kind, ENTITY.id).order_by(ENTITY.kind, ENTITY.id))
    return {kind: [one for other, one in rows if other == kind] for kind in sorted({row[0] for row in rows})}


@pytest.mark.timeout(300)
def test_no_input_is_a_defect(client: FlaskClient, document: dict[str, Any], known: Known, token: str) -> None:
    seen: Counter[int] = Counter()
    found: list[str] = []
    for method, path, operation in operations(document):
        for turn in range(TURNS):
            inventor = Inventor(document, known, f"{method} {path} {turn}")
            sent: dict[str, Any] = {"query_string": inventor.query(operation)}
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"][TYPED]["schema"]
                sent |= {"data": json.dumps(inventor.value(schema)), "content_type": TYPED}
            headers = {"Authorization": f"Bearer {token}", "Accept": TYPED}
            where = inventor.path(path)
            answer = client.open(where, method=method.upper(), headers=headers, **sent)
            seen[answer.status_code] += 1
            if answer.status_code >= 500 or answer.status_code == 401:
                found.append(f"{method} {where} (turn {turn}): {answer.status_code} {answer.text[:300]}\n    sent {sent}")
    print(dict(seen))
    assert found == [], f"{len(found)} of {seen.total()}:\n" + "\n".join(found[:20])
    assert sum(count for status, count in seen.items() if status < 400) >= READABLE_LEAST, seen


@pytest.mark.timeout(300)
def test_no_body_that_cannot_be_read_is_a_defect(
    client: FlaskClient, document: dict[str, Any], known: Known, token: str
) -> None:
    for method, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        inventor = Inventor(document, known, f"{method} {path}")
        kind = inventor.random.choice((TYPED, "application/json", "application/xml", "text/plain", ""))
        data = inventor.random.choice(UNREADABLE)
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": inventor.random.choice((TYPED, "application/xml", "text/html")),
        }
        answer = client.open(inventor.path(path), method=method.upper(), headers=headers, data=data, content_type=kind)
        assert answer.status_code < 500 and answer.status_code != 401, (method, path, kind, data[:20], answer.text[:300])


def test_nothing_is_answered_without_a_login(client: FlaskClient, document: dict[str, Any], known: Known) -> None:
    for method, path, _operation in operations(document):
        inventor = Inventor(document, known, f"{method} {path}")
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic bm86bm8="}):
            answer = client.open(inventor.path(path), method=method.upper(), headers=headers, json={})
            assert answer.status_code == 401, (method, path, headers, answer.status_code, answer.text[:200])
