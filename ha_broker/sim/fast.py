"""What makes long simulations quick without touching a decision: slots travel as the objects they are (encoding, hashing
and parsing them is two thirds of a broker's turn), nobody writes a status for people, frozen data is copied without calling
its constructor.

All of it runs unchanged in every scenario and in one seed of sixteen; in the others a slot's texts are not cut, and what is
not a carried slot (garbage, another version) goes the production way.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from ha_broker import board
from ha_broker.state import Slot

_HEADER = struct.Struct(">8sHHHQ32s")
REAL_EVERY = 16
"""One seed in so many runs with real bytes."""

T = TypeVar("T")

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


def _copied(old: T, /, **changes: Any) -> T:
    """``dataclasses.replace`` for classes without ``__post_init__``, which all of the broker's are."""
    new: T = object.__new__(type(old))
    new.__dict__.update(old.__dict__)
    new.__dict__.update(changes)
    return new


def _nothing(*_: object) -> None:
    """Instead of a status for people."""


@contextmanager
def quick(wanted: bool) -> Iterator[None]:
    """Within it the above holds, if ``wanted``."""
    if not wanted:
        yield
        return
    broker = sys.modules["ha_broker.broker"]
    patches: list[tuple[ModuleType, str, object]] = [
        (board, "to_bytes", _carry),
        (board, "from_bytes", _uncarry),
        (board, "header", _carried_header),
        (broker, "ha_status", _nothing),
        (broker, "told_by", _nothing),
    ]
    for name, module in list(sys.modules.items()):
        if name.startswith("ha_broker.") and getattr(module, "replace", None) is dataclasses.replace:
            patches.append((module, "replace", _copied))
    before = [(module, name, getattr(module, name)) for module, name, _ in patches]
    for module, name, value in patches:
        setattr(module, name, value)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for module, name, value in before:
            setattr(module, name, value)
