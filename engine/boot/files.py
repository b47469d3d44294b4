"""Reading our own JSON files as types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from appliance.codec import decode
from appliance.errors import Refused, Unavailable

T = TypeVar("T")

FILE_LIMIT_BYTES = 1024 * 1024
"""Our files hold names, addresses and a few PEM texts: some kilobytes."""


def read(kind: type[T], path: Path, code: str, remedy: str) -> T:
    """The file as a ``kind``. Raises ``Unavailable`` when it is missing, ``Refused`` when it is not what it should be."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise Unavailable(code, subject=str(path), reason=f"cannot be read: {error.strerror}", remedy=remedy) from error
    if len(data) > FILE_LIMIT_BYTES:
        raise Refused(code, subject=str(path), reason=f"is larger than {FILE_LIMIT_BYTES} bytes", remedy=remedy)
    try:
        value = json.loads(data)
    except ValueError as error:
        raise Refused(code, subject=str(path), reason=f"is not JSON ({error})", remedy=remedy) from error
    return decode(kind, value, subject=str(path), code=code, ignore_unknown=True)
