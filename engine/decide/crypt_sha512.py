"""The password hash that every Linux guest understands: SHA-512 crypt (``$6$``). Pure: salt and rounds come from the caller.

Python has none of its own any more (``crypt`` left with 3.13), and argon2 is unknown to guests' ``/etc/shadow``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""crypt's own base 64."""
SALT_CHARACTERS = 16
"""The most that the scheme takes."""
DIGEST_BYTES = 64


KEPT = re.compile(r"\$6\$(?:rounds=(\d{1,9})\$)?([^$\s:]{1,16})\$[./0-9A-Za-z]{86}")
PLAIN_ROUNDS = 5_000
"""The scheme's own number, where a hash names none."""


def is_of(password: str, kept: str, most_rounds: int) -> bool:
    """Whether a hash is that password's. One of another scheme, or of more rounds (somebody chose them, we would turn them),
    is not found out."""
    found = KEPT.fullmatch(kept)
    if found is None or (rounds := int(found[1] or PLAIN_ROUNDS)) > most_rounds:
        return False
    return crypt_sha512(password, found[2], rounds).rpartition("$")[2] == kept.rpartition("$")[2]


def crypt_sha512(password: str, salt: str, rounds: int) -> str:
    """``$6$rounds=…$salt$hash`` of ``password``."""
    word, grain = password.encode(), salt[:SALT_CHARACTERS].encode()
    first = _first(word, grain)
    words = _stretched(_digest(word * len(word)), len(word))
    grains = _stretched(_digest(grain * (16 + first[0])), len(grain))
    return f"$6$rounds={rounds}${grain.decode()}${_encoded(_turned(first, words, grains, rounds))}"


def _digest(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def _stretched(digest: bytes, length: int) -> bytes:
    return (digest * (length // DIGEST_BYTES + 1))[:length]


def _first(word: bytes, grain: bytes) -> bytes:
    """The digest that the rounds begin with: word and salt, mixed by the bits of the word's length."""
    other = _digest(word + grain + word)
    mixed, length = word + grain + _stretched(other, len(word)), len(word)
    while length:
        mixed += other if length & 1 else word
        length >>= 1
    return _digest(mixed)


def _turned(digest: bytes, words: bytes, grains: bytes, rounds: int) -> bytes:
    sha512: Callable[[bytes], hashlib._Hash] = hashlib.sha512
    for number in range(rounds):
        odd = number & 1
        mixed = words if odd else digest
        if number % 3:
            mixed += grains
        if number % 7:
            mixed += words
        digest = sha512(mixed + (digest if odd else words)).digest()
    return digest


def _encoded(digest: bytes) -> str:
    """Three bytes make four characters; which three is the scheme's own order."""
    found, places = [], (0, 21, 42)
    for _ in range(DIGEST_BYTES // 3):
        high, middle, low = (digest[place] for place in places)
        found.append(_characters(high << 16 | middle << 8 | low, 4))
        places = (places[1] + 1, places[2] + 1, places[0] + 1)
    return "".join(found) + _characters(digest[-1], 2)


def _characters(value: int, count: int) -> str:
    return "".join(ALPHABET[value >> 6 * place & 63] for place in range(count))
