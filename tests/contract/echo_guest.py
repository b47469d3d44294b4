"""The smallest guest there is: a boot sector that says ``up`` on the serial line and then says back what it hears."""

from __future__ import annotations

CODE = bytes.fromhex(
    "fa 31c0 8ed8 fc be357c"  # no interrupts; the data segment is 0; upwards, from the text on
    "ac 84c0 7405 e81300 ebf6"  # say it, letter by letter
    "bafd03 ec a801 74fb baf803 ec e80200 ebef"  # for ever: wait for a letter, take it, say it
    "88c4 bafd03 ec a820 74fb baf803 88e0 ee c3"  # say a letter: wait until the line takes one, give it
)
TEXT = b"up\r\n\0"
SECTOR_BYTES = 512


def boot_sector() -> bytes:
    """Its disk's first sector."""
    return (CODE + TEXT).ljust(SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"
