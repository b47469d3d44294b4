"""Slots without their bytes, for long simulations: encoding, hashing and parsing a slot is two thirds of a broker's turn.

The production codec runs unchanged in every scenario and in one seed of sixteen; in the others a slot travels as the object
it was (its texts are not cut), and everything that is not such an object goes the production way.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from ha_broker import board
from ha_broker.state import Slot

_HEADER = struct.Struct(">8sHHHQ32s")
REAL_EVERY = 16
"""One seed in so many runs with real bytes."""

_to_bytes, _from_bytes, _header = board.to_bytes, board.from_bytes, board.header


class Carried(bytes):
    """Bytes that carry the slot they stand for."""

    slot: Slot
    version: int


def _carry(slot: Slot, version: int = board.VERSION) -> bytes:
    data = Carried()
    data.slot, data.version = slot, version
    return data


def _carried_header(host: str, data: bytes) -> board.Header:
    if type(data) is Carried:
        return board.Header(data.version, board.VERSION, data.slot.sequence)
    return _header(host, data)


def _uncarry(host: str, data: bytes) -> Slot:
    if type(data) is Carried and data.slot.host == host:
        return data.slot
    return _from_bytes(host, real(data))


def real(data: bytes) -> bytes:
    """The bytes as production writes them."""
    return _to_bytes(data.slot, data.version) if type(data) is Carried else data


def of_newer_version(host: str, data: bytes) -> bytes:
    """The slot as a broker of the next version writes it: sealed, alive, and not to be understood by this one."""
    sequence = board.header(host, data).sequence
    blank = _HEADER.pack(board.MAGIC, board.VERSION + 1, board.VERSION + 1, 0, sequence, bytes(32))
    body = bytes(board.SLOT_BYTES - len(blank))
    digest = hashlib.sha256(blank + body).digest()
    return _HEADER.pack(board.MAGIC, board.VERSION + 1, board.VERSION + 1, 0, sequence, digest) + body


@contextmanager
def carried(wanted: bool) -> Iterator[None]:
    """Within it slots are carried, if ``wanted``."""
    before = board.to_bytes, board.from_bytes, board.header
    if wanted:
        board.to_bytes, board.from_bytes, board.header = _carry, _uncarry, _carried_header
    try:
        yield
    finally:
        board.to_bytes, board.from_bytes, board.header = before
