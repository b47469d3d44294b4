"""A VM's serial line in one's hands: the terminal that QEMU has for it.

Opened by ourselves and not through libvirt's stream: libvirtd 11.3 was seen to die when a VM ended whose stream somebody was
writing to, and with it goes what every other VM of the host needs.
"""

from __future__ import annotations

import os

from appliance.effects.duplex import CANNOT_NOW, Outgoing

PIECE_BYTES = 4096
"""What a terminal holds: more is never there at once."""


class ConsoleLine(Outgoing):
    """Never waits. Used by one thread. What a line that has ended does not take is dropped: :meth:`drain` says so."""

    has_read_ahead = False

    def __init__(self, path: str) -> None:
        """Raises ``OSError``."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        super().__init__(lambda piece: os.write(self._descriptor, piece), PIECE_BYTES)

    def drain(self) -> bool:
        """Take what the guest said and drop it: its log has it, too, and a line that nobody reads makes a guest wait.
        False: QEMU has gone."""
        try:
            while data := os.read(self._descriptor, PIECE_BYTES):
                del data
        except CANNOT_NOW:
            return True
        except OSError:
            return False
        return False

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)
