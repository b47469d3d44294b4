"""The second database, in /run: what each node said last. It is lost with the VM, and should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peewee import SqliteDatabase

from appliance.effects.clock import Clock
from engine.store.database import explained
from engine.store.records import Heard
from engine.store.tables import Observation

BUSY_TIMEOUT_MS = 2_000
"""The file is in memory: a writer is done in microseconds."""


class Observations:
    """Written by ``trivet-engine-jobs``, read by ``trivet-engine-web``. Ages are judged by the monotonic clock of
    this machine."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database: Any = SqliteDatabase(
            str(path), pragmas={"journal_mode": "wal", "synchronous": "off", "busy_timeout": BUSY_TIMEOUT_MS}
        )
        self._database.bind([Observation])
        with explained():
            self._database.create_tables([Observation], safe=True)

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def put(self, node: str, kind: str, body: object) -> None:
        """``node`` has just said ``body`` (JSON data) about ``kind``."""
        with explained():
            heard = str(self._clock.monotonic_s())
            Observation.insert(
                node=node, kind=kind, body=json.dumps(body), monotonic_s=heard
            ).on_conflict_replace().execute()

    def drop(self, node: str) -> None:
        """Forget all that ``node`` said."""
        with explained():
            Observation.delete().where(Observation.node == node).execute()

    def all(self) -> dict[tuple[str, str], Heard]:
        """(node, kind) → :class:`engine.store.records.Heard`, one consistent reading."""
        now_s = self._clock.monotonic_s()
        with explained():
            return {
                (row.node, row.kind): Heard(
                    row.node, row.kind, json.loads(row.body), max(0.0, now_s - float(row.monotonic_s))
                )
                for row in Observation.select()
            }
