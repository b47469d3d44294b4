"""Jobs: what was ordered, its steps as a journal, its log, and the locks it holds."""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE job (id TEXT PRIMARY KEY, type TEXT NOT NULL, description TEXT NOT NULL, state TEXT NOT NULL,"
    " status TEXT NOT NULL, owner_id TEXT NOT NULL, correlation_id TEXT NOT NULL, created_ms BIGINT NOT NULL,"
    " started_ms BIGINT, ended_ms BIGINT, changed_ms BIGINT NOT NULL, percent INTEGER NOT NULL, cancel INTEGER NOT NULL,"
    " runner TEXT NOT NULL, is_external INTEGER NOT NULL, auto_cleared INTEGER NOT NULL, parameters {json} NOT NULL,"
    " result {json} NOT NULL, error {json} NOT NULL)",
    "CREATE INDEX job_state ON job (state, created_ms)",
    "CREATE INDEX job_correlation ON job (correlation_id)",
    "CREATE INDEX job_ended ON job (ended_ms)",
    "CREATE TABLE job_step (job_id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE, number INTEGER NOT NULL,"
    " name TEXT NOT NULL, title TEXT NOT NULL, state TEXT NOT NULL, host TEXT NOT NULL, begun_ms BIGINT, ended_ms BIGINT,"
    " percent INTEGER NOT NULL, arguments {json} NOT NULL, data {json} NOT NULL, error {json} NOT NULL,"
    " PRIMARY KEY (job_id, number))",
    "CREATE TABLE job_log (id {serial}, job_id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,"
    " wall_ms BIGINT NOT NULL, text TEXT NOT NULL)",
    "CREATE INDEX job_log_job ON job_log (job_id, id)",
    "CREATE TABLE entity_lock (kind TEXT NOT NULL, id TEXT NOT NULL,"
    " job_id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE, shared INTEGER NOT NULL, shown TEXT NOT NULL,"
    " PRIMARY KEY (kind, id, job_id))",
    "CREATE INDEX entity_lock_job ON entity_lock (job_id)",
)
