"""Image tickets: one contract over the engine's fake, and over ovirt-imageio and qemu-nbd; then bytes over TLS, really."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance import layout
from appliance.agent.image_routes import ImageRoutes
from appliance.errors import Conflict, NotFound, TrivetError
from appliance.fakes.wire import FakeWire
from appliance.model.disk import DiskFile, NewDisk
from appliance.model.image_ticket import ImageTicket
from appliance.tools.qemu_nbd import DAEMON_UNIT, unit_name
from appliance.verbs.image_tickets import RENEWED_WAIT_S
from appliance.verbs.membership import NODE_CERTIFICATE
from appliance.wire.image_api import ImageApi
from engine.fakes.disk_node import FakeDiskNode
from engine.fakes.image_node import FakeImageNode
from tests.appliance.agents import make_member
from tests.contract.image_host import IMAGEIO, ImageHost, image_host

MIB = 1024 * 1024
REAL = pytest.mark.skipif(not (IMAGEIO / "bin/ovirt-imageio").exists(), reason="no ovirt-imageio here: `make dev` does it")


@dataclass
class World:
    """A node with disks. ``lose``: its daemon dies."""

    api: ImageApi
    create: Callable[[str, str], DiskFile]
    lose: Callable[[str], None]


def fake(folder: Path) -> World:
    disks = FakeDiskNode("node1", folder)
    node = FakeImageNode(disks)

    def create(path: str, kind: str) -> DiskFile:
        file = DiskFile("data", path, kind)  # type: ignore[arg-type]
        assert disks.disk_create(f"make-{path}", NewDisk(file, 8 * MIB)).state == "done"
        return file

    wire: ImageApi = FakeWire().client(ImageApi, node)
    return World(wire, create, lambda transfer: node.said(transfer, is_served=False))


def real(host: ImageHost) -> World:
    wire: ImageApi = FakeWire().client(ImageApi, ImageRoutes(host.tickets))
    return World(wire, lambda path, kind: host.node.create(path, kind), lambda _transfer: host.systemd.end(DAEMON_UNIT))


@pytest.fixture
def host() -> Iterator[ImageHost]:
    with image_host() as made:
        yield made


@pytest.fixture(params=["fake", pytest.param("real", marks=[REAL, pytest.mark.timeout(300)])])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return fake(tmp_path) if request.param == "fake" else real(request.getfixturevalue("host"))


def ticket(file: DiskFile, *, writes: bool = True, **more: object) -> ImageTicket:
    return ImageTicket(str(uuid.uuid4()), str(uuid.uuid4()), file, writes, **more)  # type: ignore[arg-type]


def code(call: Callable[[], object]) -> str:
    with pytest.raises(TrivetError) as caught:
        call()
    assert caught.value.subject and caught.value.reason and caught.value.remedy
    return caught.value.code


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_opened_asked_extended_and_closed(world: World, kind: str) -> None:
    one = ticket(world.create("d/i", kind))
    opened = world.api.image_open(one)
    assert (opened.transfer, opened.size_bytes, opened.is_served) == (one.transfer, 8 * MIB, True)
    assert (opened.is_active, opened.transferred_bytes) == (False, 0)
    assert world.api.image_open(one) == world.api.image_ticket(one.transfer), "asked again: nothing"
    assert [state.transfer for state in world.api.image_tickets()] == [one.transfer]
    assert world.api.image_extend(one.transfer, 900).is_served
    world.api.image_close(one.transfer)
    world.api.image_close(one.transfer)
    assert world.api.image_tickets() == ()
    assert code(lambda: world.api.image_ticket(one.transfer)) == "image.ticket-unknown"
    assert code(lambda: world.api.image_extend(one.transfer, 9)) == "image.ticket-unknown"


def test_one_ticket_a_transfer_and_one_writer_a_disk(world: World) -> None:
    file = world.create("d/i", "qcow2")
    one = ticket(file)
    world.api.image_open(one)
    assert code(lambda: world.api.image_open(replace(one, id=str(uuid.uuid4())))) == "image.ticket-differs"
    other = ticket(file)
    assert code(lambda: world.api.image_open(other)) == "disk.locked"
    assert [state.transfer for state in world.api.image_tickets()] == [one.transfer], "what was refused leaves nothing"
    world.api.image_close(one.transfer)
    assert world.api.image_open(other).is_served


def test_what_is_not_there_is_not_served(world: World) -> None:
    one = ticket(DiskFile("data", "no/such", "qcow2"))
    assert code(lambda: world.api.image_open(one)) == "file.unknown"
    assert world.api.image_tickets() == ()


def test_a_daemon_that_died_has_forgotten_and_says_so(world: World) -> None:
    one = ticket(world.create("d/i", "raw"))
    world.api.image_open(one)
    world.lose(one.transfer)
    assert [state.is_served for state in world.api.image_tickets()] == [False]
    assert world.api.image_open(one).is_served, "the same ticket again: served again"
    world.lose(one.transfer)
    world.api.image_close(one.transfer)
    assert world.api.image_tickets() == ()


def test_a_file_that_is_written_as_it_is_gets_its_room(world: World) -> None:
    one = ticket(world.create("d/i", "qcow2"), as_file=True, room_bytes=9 * MIB)
    assert world.api.image_open(one).size_bytes == 9 * MIB
    world.api.image_close(one.transfer)


# really: bytes


def img(host: ImageHost, script: str, *words: str) -> None:
    """A program that uses ovirt-imageio's own client, in its own environment."""
    argv = [str(IMAGEIO / "bin/python3"), "-I", "-c", script, str(host.ca), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


UPLOAD = "import sys; from ovirt_imageio import client; client.upload(sys.argv[2], sys.argv[3], sys.argv[1])"
DOWNLOAD = (
    "import sys; from ovirt_imageio import client; client.download(sys.argv[2], sys.argv[3], sys.argv[1], fmt=sys.argv[4])"
)


def random_image(folder: Path, size: int = 8 * MIB) -> Path:
    path = folder / "source.raw"
    with path.open("wb") as out:
        out.truncate(size)
        for offset in (0, 3 * MIB + 4096, size - 65536):
            out.seek(offset)
            out.write(os.urandom(65536))
    return path


def same(one: Path, one_kind: str, other: Path, other_kind: str) -> bool:
    argv = ["qemu-img", "compare", "-f", one_kind, "-F", other_kind, str(one), str(other)]
    return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0


@REAL
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_bytes_go_up_and_down_over_tls(host: ImageHost, tmp_path: Path, kind: str) -> None:
    file, source, back = host.node.create("d/i", kind), random_image(tmp_path), tmp_path / "back.raw"
    up = ticket(file)
    host.tickets.open(up)
    img(host, UPLOAD, str(source), host.url(up.id))
    assert host.tickets.state(up.transfer).transferred_bytes == 8 * MIB
    host.tickets.close(up.transfer)
    assert same(source, "raw", host.node.at(file), kind)
    down = ticket(file, writes=False)
    host.tickets.open(down)
    img(host, DOWNLOAD, host.url(down.id), str(back), "raw")
    assert same(source, "raw", back, "raw")
    assert code(lambda: img_write(host, down.id)) == "http.403", "a ticket to read writes nothing"
    host.tickets.close(down.transfer)
    assert code(lambda: img_write(host, down.id)) == "http.403", "a closed ticket opens nothing"


def img_write(host: ImageHost, ticket_id: str) -> None:
    context = ssl.create_default_context(cafile=str(host.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=20)
    connection.request("PUT", f"/images/{ticket_id}", b"x" * 512)
    status = connection.getresponse().status
    connection.close()
    raise Conflict(f"http.{status}", subject="it", reason="as asked", remedy="none")


@REAL
@pytest.mark.timeout(300)
def test_a_qcow2_goes_as_the_file_that_it_is_and_shallow_alone(host: ImageHost, tmp_path: Path) -> None:
    base = host.node.create("d/base", "qcow2")
    host.node.write(base, "write -P 1 0 1M")
    top = host.node.create("d/top", size=0, backing=base)
    host.node.write(top, "write -P 2 1M 1M")
    whole, alone = tmp_path / "whole.raw", tmp_path / "alone.raw"
    for target, shallow in ((whole, False), (alone, True)):
        one = ticket(top, writes=False, shallow=shallow)
        host.tickets.open(one)
        img(host, DOWNLOAD, host.url(one.id), str(target), "raw")
        host.tickets.close(one.transfer)
    assert whole.read_bytes() == b"\1" * MIB + b"\2" * MIB + bytes(6 * MIB)
    assert alone.read_bytes() == bytes(MIB) + b"\2" * MIB + bytes(6 * MIB)
    one = ticket(base, writes=False, as_file=True)
    host.tickets.open(one)
    context = ssl.create_default_context(cafile=str(host.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=20)
    connection.request("GET", f"/images/{one.id}")
    assert connection.getresponse().read() == host.node.at(base).read_bytes()
    connection.close()
    host.tickets.close(one.transfer)


@REAL
@pytest.mark.timeout(300)
def test_a_header_that_leads_out_is_not_served(host: ImageHost) -> None:
    file = host.node.create("d/i")
    argv = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", str(host.node.at(file))]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)
    assert code(lambda: host.tickets.open(ticket(file, writes=False))) == "disk.backing"


@REAL
@pytest.mark.timeout(300)
def test_a_disk_that_a_vm_writes_is_not_served_and_the_journal_says_why(host: ImageHost) -> None:
    file = host.node.create("d/i")
    argv = ["qemu-io", "-f", "qcow2", str(host.node.at(file))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdin is not None and held.stdout is not None
        held.stdin.write("write 0 512\n")
        held.stdin.flush()
        assert "wrote" in held.stdout.readline()
        assert code(lambda: host.tickets.open(ticket(file))) == "disk.locked"
        assert code(lambda: host.tickets.open(ticket(file, writes=False))) == "disk.locked"
        held.communicate("quit\n", timeout=20)
    assert host.tickets.states() == ()


@REAL
@pytest.mark.timeout(300)
def test_its_end_ends_what_served_it(host: ImageHost) -> None:
    one = ticket(host.node.create("d/i"))
    host.tickets.open(one)
    pid = host.systemd.pid(unit_name(one.transfer))
    assert Path(f"/proc/{pid}").exists()
    host.tickets.close(one.transfer)
    assert not Path(f"/proc/{pid}").exists()


@REAL
@pytest.mark.timeout(300)
def test_its_tls_takes_nothing_old(host: ImageHost) -> None:
    """Its own minimum is TLS 1.0: what refuses that is the security level of this system's OpenSSL."""
    one = ticket(host.node.create("d/i"))
    host.tickets.open(one)
    context = ssl.create_default_context(cafile=str(host.ca))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=20)
    with pytest.raises(ssl.SSLError):
        connection.request("OPTIONS", f"/images/{one.id}")
    host.tickets.close(one.transfer)


def test_ids_that_are_no_uuids_are_refused(host: ImageHost) -> None:
    one = ticket(host.node.create("d/i"))
    for bad in (replace(one, id="../x"), replace(one, transfer="a b")):
        assert code(lambda bad=bad: host.tickets.open(bad)) == "image.ticket-id"  # type: ignore[misc]
    with pytest.raises(NotFound):
        host.tickets.state("../../etc/passwd")


@REAL
def test_a_renewed_certificate_is_shown_as_soon_as_nothing_is_transferred() -> None:
    """systemd gives the daemon copies of its files at its start; it went on showing the old one until then."""
    with image_host() as host:
        copies = host.root.at("/credentials")
        host.tickets._credentials = copies
        host.systemd.before_start = lambda: shutil.copytree(host.root.at(layout.PKI), copies, dirs_exist_ok=True)
        first, second = (ticket(host.node.create(f"vm/{name}", "raw"), writes=False) for name in "ab")
        host.tickets.open(first)
        old = shown(host)
        renew(host)
        host.tickets.open(second)
        assert shown(host) == old, "one is being transferred: it is not broken off"
        host.tickets.close(first.transfer)
        host.tickets.close(second.transfer)
        host.tickets.open(first)
        assert old != shown(host) == host.root.at(NODE_CERTIFICATE).read_text()
        again = shown(host)
        renew(host)
        long_ago = time.time() - RENEWED_WAIT_S - 1
        os.utime(host.root.at(NODE_CERTIFICATE), (long_ago, long_ago))
        host.tickets.open(second)
        assert shown(host) != again, "something is always transferred: it has waited long enough"
        assert not host.tickets.state(first.transfer).is_served, "the engine sees it, and pauses it"


def shown(host: ImageHost) -> str:
    return ssl.get_server_certificate(("127.0.0.1", host.port))


def renew(host: ImageHost) -> None:
    make_member(host.root, host.certificates)
