"""The codecs against the model, against each other, and against the published SDK's own readers."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from typing import Any

import pytest
from ovirtsdk4 import types
from ovirtsdk4.reader import Reader

from appliance.errors import Refused
from engine.api import generate_model, json_v4, xml
from engine.api.documents import Collection, Fault, Item, Link
from engine.api.model import PRIMITIVES, Attribute, model

MODEL = model()
NOW = dt.datetime(2026, 11, 23, 12, 57, 43, 49000, dt.UTC)


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
def test_every_struct_survives_both_codecs(kind: str) -> None:
    value = struct_sample(kind, 1)
    assert xml.decode(MODEL, kind, xml.encode(MODEL, Item(kind, value))) == value
    assert json_v4.decode(MODEL, kind, json_v4.encode(MODEL, Item(kind, value))) == value


@pytest.mark.parametrize("kind", sorted(MODEL.structs))
def test_the_sdk_reads_every_attribute_that_we_write(kind: str) -> None:
    value = struct_sample(kind, 0)
    read = Reader.read(xml.encode(MODEL, Item(kind, value)).decode())
    assert isinstance(read, getattr(types, kind))
    for name in value:
        assert getattr(read, name) is not None, name


def test_collections_and_links_as_the_sdk_reads_them() -> None:
    host = {"id": "1", "href": "/ovirt-engine/api/hosts/1", "link": (Link("nics", "/ovirt-engine/api/hosts/1/nics"),)}
    read = Reader.read(xml.encode(MODEL, Collection("Host", [host])).decode())
    assert read[0].nics.href == "/ovirt-engine/api/hosts/1/nics"
    assert Reader.read(xml.encode(MODEL, Collection("Host", [])).decode()) == []
    fault = Reader.read(xml.encode(MODEL, Fault("Operation Failed", "[no\x00t so]")).decode())
    assert (fault.reason, fault.detail) == ("Operation Failed", "[not so]")


def test_the_json_dialect() -> None:
    event = {"id": "1", "code": 30, "time": NOW, "log_on_host": False, "host": {"id": "h"}, "severity": "normal"}
    assert json.loads(json_v4.encode(MODEL, Collection("Event", [event]))) == {
        "event": [
            {
                "id": "1",
                "code": "30",
                "time": 1795438663049,
                "log_on_host": "false",
                "host": {"id": "h"},
                "severity": "normal",
            }
        ]
    }
    assert json_v4.encode(MODEL, Collection("Event", [])) == b"{}"
    statistic = {"values": [{"datum": 1.5}], "link": (Link("x", "/x"),)}
    assert json.loads(json_v4.encode(MODEL, Item("Statistic", statistic))) == {
        "values": {"value": [{"datum": 1.5}]},
        "link": [{"rel": "x", "href": "/x"}],
    }
    given = json_v4.decode(MODEL, "Event", b'{"custom_id": 5, "log_on_host": true, "code": "7", "time": 1795438663049}')
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
        xml.decode(MODEL, "Event", body)
    assert error.value.code == code


def test_nesting_is_bounded() -> None:
    inner: dict[str, Any] = {}
    for _ in range(50):
        inner = {"physical_function": inner}
    with pytest.raises(Refused, match="nested"):
        json_v4.decode(MODEL, "HostNic", json.dumps(inner).encode())
    text = b"<physical_function>" * 50 + b"</physical_function>" * 50
    with pytest.raises(Refused, match="nested"):
        xml.decode(MODEL, "HostNic", b"<host_nic>" + text + b"</host_nic>")


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
        json_v4.decode(MODEL, "Event", body)
    assert error.value.code == code


def test_a_bad_enum_is_told_in_words_that_clients_know() -> None:
    with pytest.raises(Refused) as error:
        xml.decode(MODEL, "Disk", b"<disk><format>qcow9</format></disk>")
    assert error.value.reason.startswith(
        "The string 'qcow9' isn't a valid value for the 'DiskFormat' enumerated type. Valid values"
    )
