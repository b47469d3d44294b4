"""How passwords are hashed: by the installer, which makes the administrator's, and by the engine, which verifies all."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher

HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""OWASP's second choice for argon2id: 19 MiB, two passes; fits an engine VM of 1 GiB. The library's own choice (64 MiB,
three passes) takes five times as long, and an emulated CPU a second already for this one."""


def hash_password(password: str) -> str:
    """A new argon2id hash in PHC form."""
    return HASHER.hash(password)
