"""Ids as they are written everywhere: RFC 9562, lower case."""

from __future__ import annotations

import re
from typing import Final

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
