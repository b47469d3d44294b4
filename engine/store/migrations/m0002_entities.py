"""Entities: one shape for all that the API's model knows, with what is searched or joined in columns of their own."""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    # A kind has its own ids: oVirt's Blank template and its root tag have the same one.
    "CREATE TABLE entity (kind TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,"
    " locked_as TEXT NOT NULL, parent_kind TEXT, parent_id TEXT, unique_key TEXT, generation BIGINT NOT NULL,"
    " created_ms BIGINT NOT NULL, changed_ms BIGINT NOT NULL, refs {json} NOT NULL, body {json} NOT NULL,"
    " PRIMARY KEY (kind, id), FOREIGN KEY (parent_kind, parent_id) REFERENCES entity (kind, id) ON DELETE CASCADE)",
    "CREATE INDEX entity_name ON entity (kind, name)",
    "CREATE INDEX entity_status ON entity (kind, status)",
    "CREATE INDEX entity_parent ON entity (parent_kind, parent_id, kind)",
    "CREATE UNIQUE INDEX entity_unique ON entity (kind, unique_key) WHERE unique_key IS NOT NULL",
    # The index of entity.refs, which is what is read: who refers to whom.
    "CREATE TABLE relation (source_kind TEXT NOT NULL, source_id TEXT NOT NULL, name TEXT NOT NULL,"
    " target_kind TEXT NOT NULL, target_id TEXT NOT NULL,"
    " PRIMARY KEY (source_kind, source_id, name, target_id),"
    " FOREIGN KEY (source_kind, source_id) REFERENCES entity (kind, id) ON DELETE CASCADE,"
    " FOREIGN KEY (target_kind, target_id) REFERENCES entity (kind, id))",
    "CREATE INDEX relation_target ON relation (target_kind, target_id, source_kind, name)",
)
