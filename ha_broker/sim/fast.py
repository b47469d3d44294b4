"""Slots without their bytes, for long simulations: encoding, hashing and parsing a slot is two thirds of a broker's turn.

The production codec runs unchanged in every scenario and in one seed of sixteen; in the others a slot travels as the object
it was (its texts are not cut), and everything that is not such an object goes the production way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ha_broker import board
from ha_broker.state import Slot

REAL_EVERY = 16
"""One seed in so many runs with real bytes."""

_to_bytes, _from_bytes = board.to_bytes, board.from_bytes


class Carried(bytes):
    """Bytes that carry the slot they stand for."""

    slot: Slot


def _carry(slot: Slot) -> bytes:
    data = Carried()
    data.slot = slot
    return data


def _uncarry(host: str, data: bytes) -> Slot:
    if type(data) is Carried and data.slot.host == host:
        return data.slot
    return _from_bytes(host, real(data))


def real(data: bytes) -> bytes:
    """The bytes as production writes them."""
    return _to_bytes(data.slot) if type(data) is Carried else data


@contextmanager
def carried(wanted: bool) -> Iterator[None]:
    """Within it slots are carried, if ``wanted``."""
    before = board.to_bytes, board.from_bytes
    if wanted:
        board.to_bytes, board.from_bytes = _carry, _uncarry
    try:
        yield
    finally:
        board.to_bytes, board.from_bytes = before
