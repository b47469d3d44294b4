"""The first tables: who may come in, what happened, and the inventory."""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE start (epoch INTEGER PRIMARY KEY, host TEXT NOT NULL, version TEXT NOT NULL, boot_id TEXT NOT NULL,"
    " wall_ms BIGINT NOT NULL)",
    "CREATE TABLE account (id TEXT PRIMARY KEY, name TEXT NOT NULL, domain TEXT NOT NULL, password_hash TEXT NOT NULL,"
    " enabled INTEGER NOT NULL, UNIQUE (name, domain))",
    "CREATE TABLE token (digest TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,"
    " kind TEXT NOT NULL, scope TEXT NOT NULL, issued_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL)",
    "CREATE INDEX token_expires ON token (expires_ms)",
    "CREATE TABLE event (id {serial}, wall_ms BIGINT NOT NULL, code INTEGER NOT NULL, severity TEXT NOT NULL,"
    " origin TEXT NOT NULL, description TEXT NOT NULL, custom_id INTEGER, correlation_id TEXT NOT NULL,"
    " account_id TEXT NOT NULL, host_id TEXT NOT NULL, vm_id TEXT NOT NULL, extra TEXT NOT NULL)",
    "CREATE UNIQUE INDEX event_custom ON event (origin, custom_id) WHERE custom_id IS NOT NULL",
    "CREATE TABLE item (kind TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,"
    " PRIMARY KEY (kind, id))",
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
