"""ovirt-imageio's control socket: one contract over the fake in memory, and over the real daemon."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.imageio_control import ImageioControl
from appliance.errors import Failed, Unavailable
from appliance.fakes.imageio import FakeImageio
from appliance.model.disk import DiskFile
from appliance.model.image_ticket import ImageTicket
from appliance.ports import TicketDaemon
from appliance.tools.imageio_conf import ticket_body
from appliance.tools.qemu_nbd import DAEMON_UNIT
from tests.contract.image_host import image_host
from tests.contract.test_image_tickets import REAL


@pytest.fixture(params=["fake", pytest.param("real", marks=[REAL, pytest.mark.timeout(300)])])
def daemon(request: pytest.FixtureRequest) -> Iterator[TicketDaemon]:
    if request.param == "fake":
        yield FakeImageio()
        return
    with image_host() as host:
        first = ImageTicket(str(uuid.uuid4()), str(uuid.uuid4()), host.node.create("d/i"), writes=True)
        host.tickets.open(first)  # which starts it
        yield ImageioControl(host.root.at(layout.IMAGEIO_SOCKET))
        host.systemd.end(DAEMON_UNIT)


def test_tickets_are_put_told_extended_and_deleted(daemon: TicketDaemon) -> None:
    one = ImageTicket(str(uuid.uuid4()), str(uuid.uuid4()), DiskFile("data", "d/i"), writes=True, timeout_s=100)
    body = ticket_body(one, 4096, Path("/run/trivet-nbd/x/socket"))
    assert daemon.get(one.id) is None
    assert not daemon.extend(one.id, 100)
    daemon.put(one.id, body)
    daemon.put(one.id, body)
    told = daemon.get(one.id)
    assert told is not None
    assert (told["size"], told["active"], told["transferred"], told["ops"]) == (4096, False, 0, ["write"])
    assert told["idle_time"] in (0, 1)
    assert daemon.extend(one.id, 900)
    daemon.delete(one.id)
    daemon.delete(one.id)
    assert daemon.get(one.id) is None


def test_what_is_no_ticket_is_refused(daemon: TicketDaemon) -> None:
    with pytest.raises(Failed) as refused:
        daemon.put("some", {"uuid": "some"})
    assert refused.value.code == "imageio.refused" and "400" in refused.value.reason


def test_nobody_listens(tmp_path: Path) -> None:
    gone = FakeImageio()
    gone.end()
    for daemon in (gone, ImageioControl(tmp_path / "no-socket")):
        with pytest.raises(Unavailable) as silent:
            daemon.get("any")
        assert silent.value.code == "imageio.unreachable"
