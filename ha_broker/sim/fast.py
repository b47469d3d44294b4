"""What makes long simulations quick without touching a decision: slots travel as the objects they are (encoding, hashing
and parsing them is two thirds of a broker's turn), nobody writes a status for people, and frozen data is made and copied by
plain assignments (:mod:`ha_broker.sim.plain`).

All of it runs unchanged in every scenario and in one seed of 32; in the others a slot's texts are not cut, and what is
not a carried slot (garbage, another version) goes the production way.
"""

from __future__ import annotations

import gc
import hashlib
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ha_broker import board
from ha_broker.heard import Heard
from ha_broker.sim import plain
from ha_broker.state import Slot

_HEADER = struct.Struct(">8sHHHQ32s")
REAL_EVERY = 32
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


def _nothing(*_: object) -> None:
    """Instead of a status for people …"""


def _no_words(*_: object) -> str:
    """… of the words on a slot that only a status shows …"""
    return ""


def _none(*_: object) -> tuple[()]:
    """… and of the others' decisions, which only a status remembers."""
    return ()


@contextmanager
def quick(wanted: bool) -> Iterator[None]:
    """Within it the above holds, if ``wanted``."""
    if not wanted:
        yield
        return
    broker = sys.modules["ha_broker.broker"]
    patches: list[plain.Patch] = [
        (board, "to_bytes", _carry),
        (board, "from_bytes", _uncarry),
        (board, "header", _carried_header),
        (broker, "ha_status", _nothing),
        (broker, "told_by", _nothing),
        (broker, "words", _no_words),
        (Heard, "new", _none),
        *plain.patches("ha_broker."),
    ]
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for owner, name, value in before:
            setattr(owner, name, value)
