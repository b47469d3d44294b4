"""The codecs against the model, against each other, and against the published SDK's own readers."""

from __future__ import annotations

import gzip
import json
import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ovirtsdk4 import types
from ovirtsdk4.reader import Reader

from appliance.errors import Refused
from engine.api import generate_model, json_v4, xml
from engine.api.codecs import CODECS, JSON_TYPED, JSON_V4, XML, Fragments, encode
from engine.api.documents import Collection, Fault, Item, Links
from engine.api.model import PRIMITIVES, Attribute, model

MODEL = model()
NOW = 1795438663049


def sample(attribute: Attribute, depth: int) -> Any:
    """A value of the attribute's type."""
    plain = {"string": "a&<b>", "boolean": True, "integer": 2**31, "decimal": 1.5, "date": NOW}
    if attribute.kind in PRIMITIVES:
        one: Any = plain[attribute.kind]
    elif attribute.kind in MODEL.enums:
        one = MODEL.enums[attribute.kind][0]
    elif depth == 0:
        return None
    else:
        one = struct_sample(attribute.kind, depth - 1)
    return [one, one] if attribute.many else one


def struct_sample(kind: str, depth: int) -> dict[str, Any]:
    made = {attribute.name: sample(attribute, depth) for attribute in MODEL.struct(kind).attributes}
    return {name: value for name, value in made.items() if value is not None}


def test_the_model_is_the_sdks() -> None:
    assert len(MODEL.structs) == 220
    assert len(MODEL.enums) == 115
    assert len(MODEL.services) == 290
    committed = json.loads(gzip.decompress(generate_model.MODEL_FILE.read_bytes()))
    assert committed == json.loads(json.dumps(generate_model.generate()))


@pytest.mark.parametrize("kind", sorted(MODEL.structs))
def test_every_struct_survives_every_codec(kind: str) -> None:
    value = struct_sample(kind, 1)
    for codec in CODECS.values():
        assert codec.decode(kind, encode(codec, Item(kind, value))) == value


@pytest.mark.parametrize("kind", sorted(MODEL.structs))
def test_the_sdk_reads_every_attribute_that_we_write(kind: str) -> None:
    """Also of the second of two: whatever is inside the first, the reader must find its end."""
    value = struct_sample(kind, 1)
    read = Reader.read(encode(XML, Item(kind, value)).decode())
    assert isinstance(read, getattr(types, kind))
    both = Reader.read(encode(XML, Collection(kind, [value, value])).decode())
    assert len(both) == 2
    for name in value:
        for one in (read, *both):
            assert getattr(one, name) is not None, name


def test_collections_and_links_as_the_sdk_reads_them() -> None:
    host = {"id": "1", "href": "/ovirt-engine/api/hosts/1", "cluster": {"id": "c"}}
    read = Reader.read(encode(XML, Collection("Host", [host], Links(("nics",), ("activate",)))).decode())
    assert read[0].cluster.href == "/ovirt-engine/api/clusters/c"
    assert read[0].nics.href == "/ovirt-engine/api/hosts/1/nics"
    assert Reader.read(encode(XML, Collection("Host", [])).decode()) == []
    fault = Reader.read(encode(XML, Fault("Operation Failed", "[no\x00t so]")).decode())
    assert (fault.reason, fault.detail) == ("Operation Failed", "[not so]")


def test_the_json_dialect() -> None:
    event = {"id": "1", "code": 30, "time": NOW, "log_on_host": False, "host": {"id": "h"}, "severity": "normal"}
    assert json.loads(encode(JSON_V4, Collection("Event", [event]))) == {
        "event": [
            {
                "id": "1",
                "code": "30",
                "time": 1795438663049,
                "log_on_host": "false",
                "host": {"href": "/ovirt-engine/api/hosts/h", "id": "h"},
                "severity": "normal",
            }
        ]
    }
    assert encode(JSON_V4, Collection("Event", [])) == b"{}"
    statistic = {"href": "/s", "values": [{"datum": 1.5}]}
    assert json.loads(encode(JSON_V4, Item("Statistic", statistic, Links(("x",), ("y",))))) == {
        "href": "/s",
        "values": {"value": [{"datum": 1.5}]},
        "link": [{"rel": "x", "href": "/s/x"}],
        "actions": {"link": [{"rel": "y", "href": "/s/y"}]},
    }
    given = json_v4.decode("Event", b'{"custom_id": 5, "log_on_host": true, "code": "7", "time": 1795438663049}')
    assert given == {"custom_id": 5, "log_on_host": True, "code": 7, "time": NOW}


XML_REFUSALS = {
    "doctype": (b'<!DOCTYPE a [<!ENTITY b "c">]><event><description>&b;</description></event>', "api.xml"),
    "doctype in UTF-16": ('<!DOCTYPE event SYSTEM "file:///etc/passwd"><event/>'.encode("utf-16"), "api.xml"),
    "external entity": (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><event>&x;</event>', "api.xml"),
    "unknown entity": (b"<event><origin>&nope;</origin></event>", "api.xml"),
    "not closed": (b"<event><origin>", "api.xml"),
    "nothing": (b"", "api.xml"),
    "another root": (b"<vm/>", "api.xml"),
    "unknown element": (b"<event><colour>red</colour></event>", "api.unknown-attribute"),
    "unknown attribute": (b"<event colour='red'/>", "api.unknown-attribute"),
    "bad number": (b"<event><custom_id>1e3</custom_id></event>", "api.value"),
    "huge number": (b"<event><custom_id>" + b"9" * 100_000 + b"</custom_id></event>", "api.value"),
    "bad date": (b"<event><time>yesterday</time></event>", "api.value"),
    "bad enum": (b"<event><severity>loud</severity></event>", "api.enum"),
    "element for text": (b"<event><origin><b/></origin></event>", "api.value"),
    "thousands deep": (b"<event>" + b"<host>" * 5000 + b"</host>" * 5000 + b"</event>", "api.xml"),
}


@pytest.mark.parametrize("name", sorted(XML_REFUSALS))
def test_bad_xml_is_refused(name: str) -> None:
    body, code = XML_REFUSALS[name]
    with pytest.raises(Refused) as error:
        xml.decode("Event", body)
    assert error.value.code == code


def test_nesting_is_bounded() -> None:
    inner: dict[str, Any] = {}
    for _ in range(50):
        inner = {"physical_function": inner}
    with pytest.raises(Refused, match="nested"):
        json_v4.decode("HostNic", json.dumps(inner).encode())
    text = b"<physical_function>" * 50 + b"</physical_function>" * 50
    with pytest.raises(Refused, match="nested"):
        xml.decode("HostNic", b"<host_nic>" + text + b"</host_nic>")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "api.json"),
        (b"[" * 100_000, "api.json"),
        (b"[]", "api.value"),
        (b'{"colour": 1}', "api.unknown-attribute"),
        (b'{"custom_id": "x"}', "api.value"),
        (b'{"custom_id": {}}', "api.value"),
        (b'{"severity": "loud"}', "api.enum"),
        (b'{"time": 1e300}', "api.value"),
        (b'{"host": 5}', "api.value"),
    ],
)
def test_bad_json_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as error:
        json_v4.decode("Event", body)
    assert error.value.code == code


def test_a_bad_enum_is_told_in_words_that_clients_know() -> None:
    with pytest.raises(Refused) as error:
        xml.decode("Disk", b"<disk><format>qcow9</format></disk>")
    assert error.value.reason.startswith(
        "The string 'qcow9' isn't a valid value for the 'DiskFormat' enumerated type. Valid values"
    )


def test_the_typed_form() -> None:
    host = {"id": "1", "href": "/h/1", "memory": 5, "numa_supported": True, "transparent_huge_pages": {"enabled": True}}
    assert json.loads(encode(JSON_TYPED, Item("Host", host, Links(("nics",), ("activate",))))) == host
    event = {"id": "1", "code": 30, "time": NOW, "host": {"id": "h"}}
    typed = {"id": "1", "code": 30, "time": "2026-11-23T12:57:43.049+00:00"}
    assert json.loads(encode(JSON_TYPED, Collection("Event", [event]))) == [
        {**typed, "host": {"href": "/ovirt-engine/api/hosts/h", "id": "h"}}
    ]
    assert encode(JSON_TYPED, Collection("Event", [])) == b"[]"
    problem = json.loads(encode(JSON_TYPED, Fault("Operation Failed", "[so]", "api.x", {"a": 1})))
    assert problem == {
        "type": "tag:trivet,2026:api.x",
        "title": "Operation Failed",
        "detail": "[so]",
        "code": "api.x",
        "facts": {"a": 1},
    }


ALPHABET = "ab &<>\"'\n\t\r\x01\x7f\u2028\ufffeß€𝄞\\/{}[]"


def any_value(attribute: Attribute, random: Random, depth: int) -> Any:
    """Any value of the attribute's type."""
    if attribute.kind in MODEL.enums:
        return random.choice(MODEL.enums[attribute.kind])
    if attribute.kind in MODEL.structs:
        return any_object(attribute.kind, random, depth - 1)
    return {
        "string": lambda: "".join(random.choices(ALPHABET, k=random.randrange(9))),
        "boolean": lambda: random.random() < 0.5,
        "integer": lambda: random.choice([0, -1, 7, 2**31, 2**63 - 1, -(2**63) + 1]),
        "decimal": lambda: random.choice([0.0, -1.5, 1e300, 1e-300, 0.1]),
        "date": lambda: random.choice([0, NOW, -60_000_000_000_000, 253_402_300_799_999, 1]),
    }[attribute.kind]()


def any_object(kind: str, random: Random, depth: int) -> dict[str, Any]:
    """An object of a struct with some of its attributes."""
    found = {}
    for attribute in MODEL.struct(kind).attributes:
        if attribute.name == "href" or random.random() < 0.5 or (attribute.kind in MODEL.structs and depth == 0):
            continue  # references get an address on the way
        many = [any_value(attribute, random, depth) for _ in range(random.randrange(4) if attribute.many else 1)]
        found[attribute.name] = many if attribute.many else many[0]
    return found


XML_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def without_addresses(value: Any, clean: bool) -> Any:
    """What was read, without the addresses that references got; ``clean``: texts as XML can carry them."""
    if isinstance(value, dict):
        return {name: without_addresses(held, clean) for name, held in value.items() if name != "href"}
    if isinstance(value, list):
        return [without_addresses(one, clean) for one in value]
    return XML_TEXT.sub("", value) if clean and isinstance(value, str) else value


KINDS = st.sampled_from(sorted(MODEL.structs))
RANDOMS = st.integers(0, 2**32).map(Random)


@settings(max_examples=30, deadline=None)
@given(KINDS, RANDOMS)
def test_any_object_survives_every_codec(kind: str, random: Random) -> None:
    value = any_object(kind, random, 2)
    for codec in CODECS.values():
        read = codec.decode(kind, encode(codec, Item(kind, value)))
        assert without_addresses(read, False) == without_addresses(value, codec is XML)


@settings(max_examples=25, deadline=None)
@given(RANDOMS)
def test_the_sdk_reads_what_we_write_of_any_vm(random: Random) -> None:
    value = any_object("Vm", random, 2)
    value.pop("sso", None)  # the SDK's reader loses its place after a method without an id, which no engine sends
    read = Reader.read(encode(XML, Item("Vm", value)).decode())
    assert read.memory == value.get("memory")
    assert (read.status.value if read.status else None) == value.get("status")
    assert len(read.disk_attachments or ()) == len(value.get("disk_attachments", ()))
    if value.get("name", "").strip():
        assert read.name == XML_TEXT.sub("", value["name"])


def test_fragments_forget_what_was_used_longest_ago() -> None:
    fragments = Fragments(limit_bytes=30)
    keys = [("xml", "Vm", str(i), 1) for i in range(4)]
    fragments.put(dict.fromkeys(keys[:3], "x" * 10))
    assert set(fragments.get(keys)) == set(keys[:3])
    fragments.get(keys[:1])
    fragments.put({keys[3]: "x" * 10})
    assert set(fragments.get(keys)) == {keys[0], keys[2], keys[3]}
    fragments.put({keys[3]: "x" * 10})
    assert len(fragments.get(keys)) == 3
