"""The signer: nodes' certificates by the CA's key, which the jobs process never sees; asked through a socket as systemd
has it."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from appliance import pki
from appliance.command import main
from appliance.effects.clock import FakeClock
from appliance.errors import Refused, Unavailable
from engine import signer
from engine.layout import Guest, write_private
from tests.engine import world

NOW_S = time.time()
NAME, ADDRESS = "node4", "198.18.0.14"


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    """A guest whose CA is one that the installer made."""
    made = world.ready_guest(tmp_path / "guest", FakeClock())
    authority = pki.create_ca(world.CLUSTER.id, "trivet", NOW_S)
    write_private(made.ca, authority.certificate_pem)
    write_private(made.ca_key, authority.key_pem)
    return made


def request(name: str = NAME, address: str = ADDRESS, **changes: str) -> str:
    csr = pki.create_csr(pki.create_key(), name, (name, address))
    return json.dumps({"name": name, "address": address, "csr_pem": csr, **changes})


def code(guest: Guest, text: str) -> str:
    found = json.loads(signer.answer(guest, text, NOW_S))
    assert "certificate_pem" not in found
    return str(found["error"]["code"])


def test_a_nodes_request_is_signed_and_names_a_node(guest: Guest) -> None:
    found = json.loads(signer.answer(guest, request(), NOW_S))["certificate_pem"]
    subject = pki.subject_of(found)
    assert (subject.name, subject.cluster_id, subject.unit) == (NAME, world.CLUSTER.id, "node")
    assert set(subject.sans) == {NAME, ADDRESS}


def test_what_is_not_signed(guest: Guest) -> None:
    engine = world.CLUSTER.engine
    assert code(guest, "{") == "signer.request"
    assert code(guest, json.dumps({"name": NAME})) == "signer.request"
    assert code(guest, request(address=engine.address)) == "signer.engine"
    assert code(guest, request(name=engine.fqdn)) == "signer.engine"
    with_other_names = request(name="node5")
    assert code(guest, json.dumps({**json.loads(with_other_names), "name": NAME})).startswith("pki.")


def serve(place: Path, guest: Guest) -> threading.Thread:
    """systemd's part: one connection, whose other end is the signer's input and output."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place))
    server.listen()

    def run() -> None:
        channel, _ = server.accept()
        with channel, channel.makefile("r") as text:
            channel.sendall(signer.answer(guest, text.read(signer.LIMIT_BYTES), NOW_S).encode())
        server.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_way_through_the_socket(guest: Guest, tmp_path: Path) -> None:
    place = tmp_path / "sign.sock"
    thread = serve(place, guest)
    csr = json.loads(request())["csr_pem"]
    assert pki.subject_of(signer.signed(place, NAME, ADDRESS, csr)).name == NAME
    thread.join()
    place.unlink()
    thread = serve(place, guest)
    with pytest.raises(Refused) as caught:
        signer.signed(place, "engine", world.CLUSTER.engine.address, csr)
    assert caught.value.code == "signer.engine"
    thread.join()


def test_a_signer_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        signer.signed(tmp_path / "nobody", NAME, ADDRESS, "x")
    assert caught.value.code == "engine.signer"


def test_the_command_is_what_the_unit_starts(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(request()))
    assert main(["engine", "sign", "--root", str(guest.root)]) == 0
    assert "BEGIN CERTIFICATE" in json.loads(capsys.readouterr().out)["certificate_pem"]
    units = world.REPOSITORY / "engine/units"
    assert "ExecStart=/usr/bin/trivet engine sign\n" in (units / "trivet-engine-sign@.service").read_text()
    assert f"ListenStream={Guest().signer_socket}\n" in (units / "trivet-engine-sign.socket").read_text()
