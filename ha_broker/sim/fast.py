"""What makes long simulations quick without touching a decision: slots travel as the objects they are (encoding, hashing
and parsing them is two thirds of a broker's turn), nobody writes a status for people, and frozen data is made and copied by
plain assignments (:mod:`ha_broker.sim.plain`).

All of it runs unchanged in every scenario and in one seed of 64; in the others a slot's texts are not cut, and what is
not a carried slot (garbage, another version) goes the production way.
"""

from __future__ import annotations

import gc
import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ha_broker import board, broker
from ha_broker.sim import plain
from ha_broker.state import Slot
from ha_broker.tell import Teller

_HEADER = struct.Struct(">8sHHHQ32s")
REAL_EVERY = 64
"""One seed in so many runs with real bytes: it costs as much as four others, and of 50,000 there are 780."""

_within: list[bool] = []
"""Not empty while it holds."""

_to_bytes, _from_bytes, _header = board.to_bytes, board.from_bytes, board.header


def _carry(slot: Slot, version: int = board.VERSION) -> Slot:
    assert version == board.VERSION, "only slots of the newest format travel as they are"
    return slot


def _carried_header(host: str, data: bytes | Slot) -> board.Header:
    if isinstance(data, Slot):
        return board.Header(board.VERSION, board.VERSION, data.sequence)
    return _header(host, data)


def _uncarry(host: str, data: bytes | Slot) -> Slot:
    if isinstance(data, Slot):
        return data if data.host == host else _from_bytes(host, _to_bytes(data))
    return _from_bytes(host, data)


def of_newer_version(host: str, data: bytes) -> bytes:
    """The slot as a broker of the next version writes it: sealed, alive, and not to be understood by this one."""
    sequence = board.header(host, data).sequence
    blank = _HEADER.pack(board.MAGIC, board.VERSION + 1, board.VERSION + 1, 0, sequence, bytes(32))
    body = bytes(board.SLOT_BYTES - len(blank))
    digest = hashlib.sha256(blank + body).digest()
    return _HEADER.pack(board.MAGIC, board.VERSION + 1, board.VERSION + 1, 0, sequence, digest) + body


def _nothing(*_: object) -> None:
    """Instead of a status for people, and of the others' decisions, which only that remembers …"""


def _no_words(*_: object) -> str:
    """… and of the words on a slot that only a status shows."""
    return ""


def _value(owner: Any, name: str) -> object:
    """What that attribute is now: as the class has it, not as it is got from the class."""
    return vars(owner)[name] if name in vars(owner) else getattr(owner, name)


@contextmanager
def quick(wanted: bool) -> Iterator[None]:
    """Within it the above holds, if ``wanted``. Entering and leaving cost as much as some hundred turns, because whatever
    the interpreter has learned about the changed classes it learns again: so many seeds are run within one, and those
    inside that cost nothing."""
    if not wanted or _within:
        assert not _within or wanted, "a run with real bytes is wanted where slots travel as objects"
        yield
        return
    patches: list[plain.Patch] = [
        (board, "to_bytes", _carry),
        (board, "from_bytes", _uncarry),
        (board, "header", _carried_header),
        (broker.Broker, "_show", _nothing),
        (broker, "words", _no_words),
        (Teller, "_hear", _nothing),
        *plain.patches("ha_broker."),
        *plain.patches("appliance.model.ha"),
    ]
    before = [(owner, name, _value(owner, name)) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    gc.disable()
    _within.append(True)
    try:
        yield
    finally:
        _within.clear()
        gc.enable()
        for owner, name, value in before:
            setattr(owner, name, value)
