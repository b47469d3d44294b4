"""Hosts come and go as clients ask for it: the official SDK, and the collection's ovirt_host module. Nodes are fakes, the
server speaks HTTPS."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types
from werkzeug.serving import make_server

from appliance.effects.clock import SystemClock
from engine.app import create_app
from engine.core import Engine
from engine.fakes.enrolment import FINGERPRINT, RIGHT, TOKEN
from engine.fakes.hosts import FakeNodes
from tests.engine import world
from tests.engine.sdk_world import at_work, connected, gone, until
from tests.engine.test_ansible import play
from tests.engine.vm_world import fake_hosts

ADDRESS = "198.18.0.14"
Bench = tuple[world.Running, FakeNodes]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A server whose way to bare nodes leads to fakes, with its jobs at work."""
    folder = tmp_path_factory.mktemp("engine")
    guest, nodes = world.ready_guest(folder / "guest", SystemClock()), fake_hosts(folder / "hosts")
    engine: Engine = replace(world.engine_of(guest, SystemClock()), bare=nodes.enrolment.bare)  # type: ignore[arg-type]
    server = make_server(
        "127.0.0.1", 0, create_app(engine), threaded=True, ssl_context=(str(guest.certificate), str(guest.key))
    )
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    running = world.Running(guest, server.port, None)  # type: ignore[arg-type]
    with at_work(running, nodes):
        yield running, nodes
    server.shutdown()
    serving.join()
    engine.close()


@pytest.fixture
def bare(bench: Bench) -> None:
    """The fourth node is switched on, fresh from its image."""
    bench[1].enrolment.plug(ADDRESS, wall_s=RIGHT)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("bare")
def test_the_sdk_adds_a_host_and_removes_it(bench: Bench) -> None:
    with closing(connected(bench[0])) as connection:
        hosts, events = connection.system_service().hosts_service(), connection.system_service().events_service()
        asked = types.Host(
            name="node4", address=ADDRESS, root_password=TOKEN, cluster=types.Cluster(name="trivet"), comment="rack 4",
            ssh=types.Ssh(authentication_method=types.SshAuthenticationMethod.PASSWORD, port=22),
        )  # fmt: skip
        with pytest.raises(sdk.Error, match="is not the join token"):
            hosts.add(types.Host(name="node4", address=ADDRESS, root_password=f"x{TOKEN[1:]}", cluster=asked.cluster))
        made = hosts.add(asked)
        assert made.root_password is None
        host = hosts.host_service(made.id)
        until(lambda: host.get().status == types.HostStatus.UP)
        found = host.get()
        assert (found.comment, found.address, found.ssh.fingerprint) == ("rack 4", ADDRESS, FINGERPRINT)
        assert [one.code for one in events.list(search="type=504")] == [504]
        with pytest.raises(sdk.Error, match="not in Maintenance mode"):
            host.remove()
        with pytest.raises(sdk.Error, match="it is up"):
            host.fence(fence_type="manual")
        host.deactivate(reason="it goes")
        until(lambda: host.get().status == types.HostStatus.MAINTENANCE)
        host.install(root_password=TOKEN, activate=False)
        until(lambda: host.get().status == types.HostStatus.MAINTENANCE)
        host.remove(force=False)
        until(lambda: gone(host))
        assert [one.code for one in events.list(search="type=44")] == [44]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("bare")
def test_the_ansible_module_adds_a_host_once_and_removes_it(bench: Bench, tmp_path: Path) -> None:
    first: Any = play(bench[0], tmp_path, "host")
    assert (first.failed, first.changed) == (0, 1), first.text[-6000:]
    again = play(bench[0], tmp_path, "host")
    assert (again.failed, again.changed) == (0, 0), again.text[-6000:]
    leaving = play(bench[0], tmp_path, "host_gone")
    assert (leaving.failed, leaving.changed) == (0, 1), leaving.text[-6000:]
