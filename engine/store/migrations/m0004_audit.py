"""Events refer to any object, under the name that it had; and a history of statistics."""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE event ADD COLUMN refs {json} NOT NULL DEFAULT '{}'",
    "CREATE INDEX event_code ON event (code)",
    "CREATE INDEX event_correlation ON event (correlation_id)",
    "CREATE INDEX event_wall ON event (wall_ms)",
    "CREATE TABLE event_ref (kind TEXT NOT NULL, entity_id TEXT NOT NULL,"
    " event_id BIGINT NOT NULL REFERENCES event (id) ON DELETE CASCADE, PRIMARY KEY (kind, entity_id, event_id))",
    "CREATE INDEX event_ref_event ON event_ref (event_id)",
    # span_s: how long a row's average is; the finer rows are kept for a shorter time.
    "CREATE TABLE sample (kind TEXT NOT NULL, entity_id TEXT NOT NULL, span_s INTEGER NOT NULL, wall_ms BIGINT NOT NULL,"
    " amount INTEGER NOT NULL, numbers {json} NOT NULL, PRIMARY KEY (kind, entity_id, span_s, wall_ms))",
    "CREATE INDEX sample_age ON sample (span_s, wall_ms)",
)
