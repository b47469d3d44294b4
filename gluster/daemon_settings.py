"""The settings of glusterd itself: a pure edit of the text of /etc/glusterfs/glusterd.vol, and a drop-in for its unit.

The reason of the former (measured): with glusterd's defaults every command that needs all peers, eviction included,
hangs for 33 s after a node vanished and then fails; with these it succeeded 7.2 s after the cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from appliance.errors import Failed

DAEMON_FILE = Path("/etc/glusterfs/glusterd.vol")

DAEMON_SETTINGS: Mapping[str, str] = {
    "transport.socket.keepalive-time": "3",
    "transport.socket.keepalive-interval": "1",
    "transport.socket.keepalive-count": "3",
    "transport.tcp-user-timeout": "5",
    "ping-timeout": "5",
}
"""Names as glusterd 11.1 reads them (keepalive-time … in the ``transport.socket`` family, tcp-user-timeout in
``transport``)."""


DROP_IN_FILE = Path("/etc/systemd/system/glusterd.service.d/trivet.conf")

DROP_IN = """\
# Written by Trivet. Debian's unit says KillMode=control-group: every restart (or crash) of glusterd would end the brick
# processes, too, and a brick that starts anew has lost its locks. Bricks outlive glusterd, which finds them again, by the
# ports that it has stored: these are put right first. Debian's gives up after six starts within an hour: no volume could be
# changed then, and no host evicted, until somebody comes and starts it.
[Unit]
StartLimitIntervalSec=0

[Service]
ExecStartPre=-/usr/libexec/trivet-note-brick-ports
KillMode=process
Restart=on-failure
RestartSec=2
"""
"""Upstream's own unit has KillMode=process. 2 s instead of Debian's 60: glusterd starts in one, and without it nothing
can be changed (eviction included)."""


def with_settings(text: str, settings: Mapping[str, str] = DAEMON_SETTINGS) -> str:
    """``text`` with each option set to its value; comments and other options stay; done twice it is the same.

    Raises ``Failed`` (``gluster.daemon-file``) when the text has no ``volume management`` … ``end-volume`` block.
    """
    lines = text.splitlines()
    try:
        begin = next(i for i, line in enumerate(lines) if line.split() == ["volume", "management"])
        end = next(i for i in range(begin, len(lines)) if lines[i].strip() == "end-volume")
    except StopIteration:
        raise Failed(
            "gluster.daemon-file",
            subject=str(DAEMON_FILE),
            reason="it has no block from 'volume management' to 'end-volume'",
            remedy="Put the file of the package glusterfs-server back.",
        ) from None
    block = lines[begin + 1 : end]
    for name, value in settings.items():
        block = _set(block, name, value)
    return "\n".join([*lines[: begin + 1], *block, *lines[end:]]) + "\n"


def _set(block: list[str], name: str, value: str) -> list[str]:
    pattern = re.compile(rf"\s*option\s+{re.escape(name)}\s")
    wanted = f"    option {name} {value}"
    held = [i for i, line in enumerate(block) if pattern.match(line + " ")]
    if not held:
        return [*block, wanted]
    return [wanted if i == held[0] else line for i, line in enumerate(block) if i == held[0] or i not in held]
