"""Passwords for guests: hashed in the request's body before anything else sees it, so that no row, journal, log or answer
ever has one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any

from appliance.errors import Refused
from engine.decide.crypt_sha512 import ALPHABET, SALT_CHARACTERS, crypt_sha512, is_of
from engine.decide.guest_init import HASH

ROUNDS = 5_000
"""What guests' own passwd takes; 25 ms here, and a second on an emulated CPU, which a request may cost and no more."""
LIMIT_CHARACTERS = 256
"""More is no password, and each round would hash it all."""


def sealed(value: Any, kept: Callable[[], Collection[str]] = tuple) -> Any:
    """A body with all passwords of its ``initialization`` (a VM's, a template's, a start's) as hashes. One that is a hash
    already, in the forms that cloud-init knows, stays. ``kept``: says the hashes that the object has (:func:`hashes_in`), if
    there is a password; one that is one of these is no change, and stays that hash."""
    if isinstance(value, list):
        return [sealed(one, kept) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _initialization(one, kept) if name == "initialization" and one else sealed(one, kept)
        for name, one in value.items()
    }


def hashes_in(body: Any) -> frozenset[str]:
    """All hashes of passwords in an object's attributes, those that wait for its next start among them."""
    if isinstance(body, str):
        return frozenset({body} if HASH.fullmatch(body) else ())
    parts = body.values() if isinstance(body, Mapping) else body if isinstance(body, list | tuple) else ()
    return frozenset().union(*(hashes_in(one) for one in parts))


def _initialization(given: Any, kept: Callable[[], Collection[str]]) -> Any:
    if not isinstance(given, Mapping):
        return given
    found = dict(given)
    if found.get("root_password"):
        found["root_password"] = hashed(str(found["root_password"]), kept())
    cloud_init = found.get("cloud_init")
    if isinstance(cloud_init, Mapping) and cloud_init.get("users"):
        users = [
            {**one, "password": hashed(str(one["password"]), kept())} if one.get("password") else one
            for one in cloud_init["users"]
        ]
        found["cloud_init"] = {**cloud_init, "users": users}
    return found


def hashed(password: str, kept: Collection[str] = ()) -> str:
    """What a guest keeps of a password: that of ``kept`` which it is, else a new one. Raises ``Refused`` ``vm.password``."""
    if HASH.fullmatch(password):
        return password
    if len(password) > LIMIT_CHARACTERS or "\n" in password or "\0" in password:
        reason = f"a password of a guest is one line of at most {LIMIT_CHARACTERS} characters"
        raise Refused("vm.password", subject="initialization.root_password", reason=reason, remedy="Choose another one.")
    known = next((one for one in sorted(kept) if is_of(password, one, ROUNDS)), "")
    if known:
        return known
    salt = "".join(secrets.choice(ALPHABET) for _ in range(SALT_CHARACTERS))
    return crypt_sha512(password, salt, ROUNDS)
