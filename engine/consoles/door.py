"""What sshd starts for who comes to the console port: run by path, with the standard library alone, as an account that may
nothing but talk to the engine's console socket.

``door.py key KIND BASE64``     sshd's AuthorizedKeysCommand: print the key if the engine knows it
``door.py connect``             sshd's ForceCommand: the menu, or the console of the VM that was asked for

Over the socket go lines of JSON. We: ``{"ask": "key"|"connect", "key": …, "command": …}``, then ``{"choice": …}``.
The engine: ``say`` (print it), ``choose`` (ask the person), ``known``, ``attach`` (bytes from now on), ``end``, ``error``.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import termios
import tty
from pathlib import Path
from typing import Any

SOCKET = "/run/trivet-engine-vmconsole/socket"
PIECE_BYTES = 16 * 1024
LINE_LIMIT_BYTES = 256 * 1024
"""The list of a thousand VMs has some 60 KiB."""
ANSWER_S = 110.0
"""The engine loads a program for each of us: some seconds under emulation, a minute under load; sshd gives us two."""


def main(words: list[str]) -> int:
    """0: it went as it should; 1: it was refused, and said why."""
    place = os.environ.get("TRIVET_VMCONSOLE_SOCKET", SOCKET)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(ANSWER_S)
            channel.connect(place)
            if words[:1] == ["key"] and len(words) == 3:
                return _key(channel, f"{words[1]} {words[2]}")
            return _connect(channel, _shown_key(), os.environ.get("SSH_ORIGINAL_COMMAND", ""))
    except OSError as error:
        print(f"The engine's consoles do not answer: {error}", file=sys.stderr)  # noqa: T201 - a program's words
        return 1


def _key(channel: socket.socket, key: str) -> int:
    """sshd reads what we print as lines of an authorized_keys file: one key, a terminal, and nothing else."""
    _send(channel, {"ask": "key", "key": key})
    if _receive(channel).get("known") is not True:
        return 1
    print(f"restrict,pty {key}")  # noqa: T201 - sshd's answer
    return 0


def _shown_key() -> str:
    """With which key sshd let the person in (ExposeAuthInfo)."""
    place = os.environ.get("SSH_USER_AUTH", "")
    for line in Path(place).read_text().splitlines() if place else ():
        method, _, key = line.partition(" ")
        if method == "publickey":
            return key
    return ""


def _connect(channel: socket.socket, key: str, command: str) -> int:
    _send(channel, {"ask": "connect", "key": key, "command": command})
    while True:
        said = _receive(channel)
        if "error" in said:
            error = said["error"]
            words = f"{error.get('object')}: {error.get('reason')}. {error.get('remedy')} [{error.get('code')}]"
            print(words, file=sys.stderr)  # noqa: T201 - a program's words
            return 1
        if said.get("say"):
            sys.stdout.write(str(said["say"]))
            sys.stdout.flush()
        if "choose" in said:
            sys.stdout.write(str(said["choose"]))
            sys.stdout.flush()
            _send(channel, {"choice": sys.stdin.readline().strip()})
        if said.get("attach"):
            channel.settimeout(None)
            return _raw(channel)
        if said.get("end"):
            return 0


def _raw(channel: socket.socket) -> int:
    """Every key goes to the guest; what ends it is ssh's own Enter ~ ."""
    if not os.isatty(0):
        return _pass_on(channel)
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        return _pass_on(channel)
    finally:
        termios.tcsetattr(0, termios.TCSANOW, before)


def _pass_on(channel: socket.socket) -> int:
    """Until one of both has ended. A terminal that takes nothing makes the guest's words wait, with the engine."""
    with selectors.DefaultSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        ready.register(channel, selectors.EVENT_READ)
        while True:
            for key, _events in ready.select():
                data = os.read(0, PIECE_BYTES) if key.fd == 0 else channel.recv(PIECE_BYTES)
                if not data:
                    return 0
                if key.fd == 0:
                    channel.sendall(data)
                else:
                    _write(data)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _send(channel: socket.socket, said: dict[str, Any]) -> None:
    channel.sendall(json.dumps(said).encode() + b"\n")


def _receive(channel: socket.socket) -> dict[str, Any]:
    """A line; letter by letter, because what follows the last one is the guest's."""
    line = b""
    while not line.endswith(b"\n"):
        more = channel.recv(1)
        if not more or len(line) > LINE_LIMIT_BYTES:
            raise ConnectionError("it ended without a word")
        line += more
    found = json.loads(line)
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
