"""Old ports of bricks: which are answered, and that a caller is sent away at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gluster import old_ports
from gluster.old_ports import KEPT, Answerer, Known, port_of, running_bricks

BRICK = "vmstore/node1-data-bricks-vmstore"
COMMAND = b"/usr/sbin/glusterfsd\0-s\0node1\0--brick-name\0/data/bricks/vmstore\0--brick-port\x0057070\0--xlator-option\0x\0"


@pytest.mark.parametrize(
    ("command", "port"),
    [
        (COMMAND, 57070),
        (b"", None),
        (b"/bin/sh\0--brick-port\x0057070\0", None),
        (b"/usr/sbin/glusterfsd\0--brick-port", None),
        (b"/usr/sbin/glusterfsd\0--brick-port\0many\0", None),
    ],
)
def test_the_port_in_a_command_line(command: bytes, port: int | None) -> None:
    assert port_of(command) == port


def test_only_what_runs_has_a_port(tmp_path: Path) -> None:
    for name, pid in (("vmstore/node1-a", "10"), ("engine/node1-b", "11"), ("engine/node1-c", "")):
        file = tmp_path / "run/vols" / f"{name}.pid"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{pid}\n")
    (tmp_path / "proc/10").mkdir(parents=True)
    (tmp_path / "proc/10/cmdline").write_bytes(COMMAND)
    assert running_bricks(tmp_path / "run", tmp_path / "proc") == {"vmstore/node1-a": 57070}


def test_a_brick_that_has_another_port_leaves_an_old_one() -> None:
    known = Known()
    known.note({BRICK: 1001})
    assert known.old({BRICK: 1001}) == frozenset()
    known.note({BRICK: 1002})
    assert known.old({BRICK: 1002}) == {1001}
    assert known.old({}) == frozenset(), "a brick that is down is nowhere else"
    assert known.old({BRICK: 1002, "other": 1001}) == frozenset(), "another brick has it now"
    known.note({BRICK: 1001})
    assert known.old({BRICK: 1001}) == {1002}


def test_no_more_than_the_latest_are_kept() -> None:
    known = Known()
    for port in range(2000, 2100):
        known.note({BRICK: port})
    assert known.old({BRICK: 2099}) == set(range(2099 - KEPT, 2099))


def test_what_is_known_outlives_the_program() -> None:
    known = Known()
    for port in (1001, 1002):
        known.note({BRICK: port, "engine/b": 3000})
    assert Known.read(known.text()) == known
    assert Known.read(known.text() + "half\nwritten 12x\n\n") == known


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


def test_a_caller_is_accepted_and_left() -> None:
    port, answerer = free_port(), Answerer()
    answerer.listen(frozenset({port}))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
        assert answerer.answer(0.2) == 1
        assert caller.recv(1) == b""
    answerer.listen(frozenset())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_port_that_somebody_has_is_tried_again() -> None:
    answerer = Answerer()
    with socket.create_server(("", 0)) as other:
        port = int(other.getsockname()[1])
        answerer.listen(frozenset({port}))
        assert answerer.answer(0.0) == 0
    answerer.listen(frozenset({port}))
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        assert answerer.answer(0.2) == 1
    answerer.listen(frozenset())


@contextmanager
def brick(folder: Path, port: int) -> Iterator[None]:
    """A process with a brick's command line, and glusterd's file of its id."""
    program = folder / "glusterfsd"
    if not program.exists():
        program.symlink_to(os.path.realpath("/bin/sleep"))
    command = f'exec -a {program} sh -c "read -r never" - --brick-port {port}'
    with subprocess.Popen(["bash", "-c", command], stdin=subprocess.PIPE) as process:
        (folder / "vols/vmstore/node1-data-bricks-vmstore.pid").write_text(f"{process.pid}\n")
        yield
        process.kill()


def test_the_program_sends_on_whom_a_restarted_brick_has_left(tmp_path: Path) -> None:
    (tmp_path / "vols/vmstore").mkdir(parents=True)
    old, new = free_port(), free_port()
    state = tmp_path / "known"
    argv = [sys.executable, "-I", old_ports.__file__, str(tmp_path), str(state)]

    def known() -> str:
        return state.read_text() if state.exists() else ""

    for port in (old, new):
        with (
            brick(tmp_path, port),
            subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as program,  # a new one each time: it remembers
        ):
            until(lambda at=port: str(at) in known())
            if port == new:
                assert program.stdout is not None
                assert str(old) in program.stdout.readline()
                with socket.create_connection(("127.0.0.1", old), timeout=5) as caller:
                    assert caller.recv(1) == b""
            program.kill()


def until(probe: Callable[[], bool], within_s: float = 15.0) -> None:
    end_s = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < end_s
        time.sleep(0.05)
