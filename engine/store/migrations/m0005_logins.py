"""Who failed to log in, and how often in a row: kept here because several processes let people in."""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE login_failure (name TEXT NOT NULL, address TEXT NOT NULL, count INTEGER NOT NULL, last_ms BIGINT NOT NULL,"
    " PRIMARY KEY (name, address))",
    "CREATE INDEX login_failure_age ON login_failure (last_ms)",
)
