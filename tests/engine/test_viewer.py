"""The way to a VM's screen: tickets and connection files, who gets them, and that nobody else ever reads the word."""

from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.codec import encode
from appliance.errors import Refused, Unavailable
from engine.api.nouns import vm_viewer
from engine.core import Engine
from engine.decide.roles import USER_VM_MANAGER
from engine.decide.viewer import DEFAULT_S, LONGEST_S, VIEWER_S, Screen, viewer_file, wanted_ticket
from engine.store.permissions import Permits
from tests.engine import world
from tests.engine.test_vms import user
from tests.engine.vm_world import API, NEW_DISK, Vms, detail, fake_hosts

VNC = "766e63"


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    nodes = fake_hosts(tmp_path / "hosts")
    seeing = replace(engine, screens=lambda member: nodes.vms(member.name))
    client.application.extensions["trivet"] = seeing
    return Vms(seeing, client, token, nodes)


def opened(vms: Vms, vm: str) -> tuple[str, float]:
    return vms.running(vm).ticket


def read(text: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser["virt-viewer"]


def test_a_ticket_is_drawn_or_taken() -> None:
    assert wanted_ticket({}, "drawn123", "VM a") == ("drawn123", DEFAULT_S)
    assert wanted_ticket({"value": "mine", "expiry": 60}, "drawn123", "VM a") == ("mine", 60)
    for bad in ({"value": "123456789"}, {"value": "grün"}, {"value": "a\nb"}, {"expiry": 0}, {"expiry": LONGEST_S + 1}):
        with pytest.raises(Refused, match="Cannot set ticket"):
            wanted_ticket(bad, "drawn123", "VM a")


def test_the_file_is_virt_viewers() -> None:
    text = viewer_file(Screen("192.0.2.1", 5901, "s%cret12", 120, "web\n[ovirt]", "-----BEGIN\nAB\n-----END\n"))
    found = read(text)
    assert {name: found[name] for name in ("type", "host", "port", "password", "delete-this-file", "title", "ca")} == {
        "type": "vnc", "host": "192.0.2.1", "port": "5901", "password": "s%cret12", "delete-this-file": "1",
        "title": "web [ovirt]:%d", "ca": r"-----BEGIN\nAB\n-----END",
    }  # fmt: skip


def test_a_console_is_opened(vms: Vms, tmp_path: Path) -> None:
    vm = vms.started()
    console = f"vms/{vm}/graphicsconsoles/{VNC}"
    status, answer = vms.ask("POST", f"{console}/ticket", {"ticket": {"expiry": 60}})
    assert (status, answer["status"], answer["ticket"]["expiry"]) == (200, "complete", "60")
    word = answer["ticket"]["value"]
    assert (len(word), opened(vms, vm)) == (8, (word, 60.0))
    again = vms.ask("POST", f"vms/{vm}/ticket", {"ticket": {"value": "chosen"}})[1]["ticket"]
    assert (again, opened(vms, vm)) == ({"value": "chosen", "expiry": str(DEFAULT_S)}, ("chosen", float(DEFAULT_S)))
    status, answer = vms.ask("POST", f"{console}/remoteviewerconnectionfile", {})
    found = read(answer["remote_viewer_connection_file"])
    (member,) = (one for one in world.MEMBERS if one.name == vms.host_of(vm))
    assert (status, found["host"], found["port"]) == (200, member.address, "5900")
    assert opened(vms, vm) == (found["password"], float(VIEWER_S))
    assert vms.codes(vm).count(164) == 3
    kept = [path.name for path in tmp_path.rglob("*sqlite*") if word.encode() in path.read_bytes()]
    assert kept == [], "no row, journal or event has the word"
    assert word not in str(vms.ask("GET", "events")[1])


def test_the_file_comes_as_v4s_own_media_type_too(vms: Vms) -> None:
    vm = vms.started()
    vms.engine.store.entities.change(
        "host",
        vms.engine.store.entities.need("vm", vm).ref("host"),
        lambda one: one.with_body(display={"address": "view.lab"}),
    )
    headers = {"Authorization": f"Bearer {vms.token}", "Accept": "application/x-virt-viewer"}
    answer = vms.client.get(f"{API}/vms/{vm}/graphicsconsoles/{VNC}", headers=headers)
    assert (answer.status_code, answer.content_type) == (200, "application/x-virt-viewer;charset=UTF-8")
    assert answer.headers["Cache-Control"] == "no-store"
    found = read(answer.text)
    assert (found["host"], found["password"]) == ("view.lab", opened(vms, vm)[0])
    assert vms.client.get(f"{API}/vms/{vm}/graphicsconsoles/none", headers=headers).status_code == 404
    assert vms.client.get(f"{API}/vms/{vm}/graphicsconsoles", headers=headers).status_code == 200, "a list has no such form"


def test_where_the_screens_of_a_running_machine_are(vms: Vms) -> None:
    vm = vms.made(disk_attachments=[NEW_DISK])["id"]
    consoles = f"vms/{vm}/graphicsconsoles"
    assert vms.ask("GET", f"{consoles}?current=true") == (200, {}), "it has none now"
    plain = {"id": VNC, "protocol": "vnc"}
    vms.done("POST", f"vms/{vm}/start", {})
    (member,) = (one for one in world.MEMBERS if one.name == vms.host_of(vm))
    for query, more in (("", {}), ("?current=true", {"address": member.address, "port": "5900"})):
        (found,) = vms.ask("GET", f"{consoles}{query}")[1]["graphics_console"]
        assert {name: found.get(name) for name in ("id", "protocol", "address", "port")} == {
            "address": None, "port": None, **plain, **more,
        }  # fmt: skip
        assert found["vm"]["id"] == vm
    assert vms.ask("GET", f"{consoles}/{VNC}?current=true")[1]["port"] == "5900"
    vms.nodes.down.add(member.name)
    assert vms.ask("GET", f"{consoles}?current=true")[0] == 503
    assert vms.ask("GET", consoles)[0] == 200


def test_what_cannot_be_looked_at(vms: Vms) -> None:
    vm = vms.made()["id"]

    def refused(path: str, body: Any = None) -> tuple[int, str]:
        status, fault = vms.ask("POST", path, body or {})
        return status, detail(fault)

    status, words = refused(f"vms/{vm}/graphicsconsoles/{VNC}/ticket")
    assert (status, "Cannot set ticket. VM is not running" in words) == (409, True), words
    engine = f"vms/{world.CLUSTER.engine.id}"
    assert refused(f"{engine}/graphicsconsoles/{VNC}/remoteviewerconnectionfile")[0] == 409
    up = vms.started(name="up")
    assert refused(f"vms/{up}/graphicsconsoles/{VNC}/ticket", {"ticket": {"value": "123456789"}})[0] == 400
    assert refused(f"vms/{up}/graphicsconsoles/7370696365/ticket")[0] == 404
    vms.nodes.down.add(vms.host_of(up))
    status, words = refused(f"vms/{up}/graphicsconsoles/{VNC}/ticket")
    assert (status, "did not answer" in words) == (503, True), words
    assert opened(vms, up) == ("", 0.0)


def test_only_who_may_connect_gets_in(vms: Vms) -> None:
    vm, token = vms.started(), user(vms, "ann")
    console = f"vms/{vm}/graphicsconsoles/{VNC}"
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/x-virt-viewer"}
    for action in ("ticket", "remoteviewerconnectionfile"):
        assert vms.ask("POST", f"{console}/{action}", {}, token=token)[0] in (403, 404)
    assert vms.client.get(f"{API}/{console}", headers=headers).status_code in (403, 404)
    assert opened(vms, vm) == ("", 0.0)
    Permits(vms.engine.store.entities).give(USER_VM_MANAGER, ("user", "user-ann"), ("vm", vm))
    assert vms.ask("POST", f"{console}/ticket", {}, token=token)[0] == 200
    assert vms.client.get(f"{API}/{console}", headers=headers).status_code == 200


def test_where_its_screen_is_is_in_a_vm_that_runs_and_in_no_list(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = vms.made(disk_attachments=[NEW_DISK])["id"]
    assert "port" not in vms.vm(vm)["display"]
    vms.done("POST", f"vms/{vm}/start", {})
    vms.look()
    (member,) = (one for one in world.MEMBERS if one.name == vms.host_of(vm))
    assert "port" not in vms.vm(vm)["display"], "no host has told lately that it has it: nobody is waited for"
    world.observe(vms.engine.observations)
    vms.engine.observations.put(member.name, "vms", encode(vms.nodes.host(member.name).vms()))
    display = vms.vm(vm)["display"]
    assert (display["address"], display["port"], display["type"]) == (member.address, "5900", "vnc")
    (listed,) = [one for one in vms.ask("GET", "vms")[1]["vm"] if one["id"] == vm]
    assert "port" not in listed["display"]
    monkeypatch.setattr(vm_viewer, "current", raising)
    assert "port" not in vms.vm(vm)["display"], "a host that does not answer just now spoils nothing"


def raising(*_: Any) -> Any:
    raise Unavailable("agent.unreachable", subject="node1", reason="it is silent", remedy="Look.")


def test_vms_begin_with_their_templates_screens(vms: Vms) -> None:
    vm = vms.made(disk_attachments=[NEW_DISK])["id"]
    template = vms.done("POST", "templates", {"name": "t", "vm": {"id": vm}})["id"]
    consoles = f"templates/{template}/graphicsconsoles"
    (found,) = vms.ask("GET", consoles)[1]["graphics_console"]
    assert (found["id"], found["protocol"], found["template"]["id"]) == (VNC, "vnc", template)
    assert vms.ask("DELETE", f"{consoles}/{VNC}")[0] == 200
    assert (vms.ask("DELETE", f"{consoles}/{VNC}")[0], vms.ask("GET", consoles)[1]) == (404, {})
    body = {"cluster": {"id": world.CLUSTER.id}, "template": {"id": template}}
    bare = vms.done("POST", "vms", {"name": "bare", **body})["id"]
    assert vms.ask("GET", f"vms/{bare}/graphicsconsoles")[1] == {}
    assert vms.ask("POST", consoles, {"protocol": "vnc"})[0] == 201
    for protocol, words in (("vnc", "has one of protocol vnc already"), ("spice", "only vnc is")):
        status, fault = vms.ask("POST", consoles, {"protocol": protocol})
        assert status == 409 and words in detail(fault)
    seeing = vms.done("POST", "vms", {"name": "seeing", **body})["id"]
    assert vms.ask("GET", f"vms/{seeing}/graphicsconsoles")[1]["graphics_console"][0]["id"] == VNC
    blank = "templates/00000000-0000-0000-0000-000000000000/graphicsconsoles"
    assert "Blank Template cannot be edited" in detail(vms.ask("DELETE", f"{blank}/{VNC}")[1])


def test_there_is_no_proxy_and_what_to_ask_instead_is_said(vms: Vms) -> None:
    vm = vms.started()
    status, fault = vms.ask("POST", f"vms/{vm}/graphicsconsoles/{VNC}/proxyticket", {})
    assert status == 409 and "There is no proxy" in detail(fault) and "remoteviewerconnectionfile" in detail(fault)
    (console,) = vms.ask("GET", f"vms/{vm}/graphicsconsoles")[1]["graphics_console"]
    assert "proxyticket" not in str(console["actions"])
