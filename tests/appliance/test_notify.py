"""What services tell systemd."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appliance.effects.notify import tell_systemd


def test_one_datagram_in_systemds_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not tell_systemd("READY=1"), "without systemd: nothing, and no error"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        assert tell_systemd("WATCHDOG=1")
        assert channel.recv(100) == b"WATCHDOG=1"
