"""The second database, in /run: what each node said last. It is lost with the VM, and should be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from peewee import SqliteDatabase

from appliance.effects.clock import Clock
from engine.store.database import explained
from engine.store.records import Heard
from engine.store.tables import Observation

ROWS = "SELECT node, kind, monotonic_s, saying FROM observation"
PUT = "INSERT OR REPLACE INTO observation (node, kind, body, monotonic_s, saying) VALUES (?, ?, ?, ?, ?)"
SAYING_BYTES = 16
BODY = "SELECT body FROM observation WHERE saying = ?"
BUSY_TIMEOUT_MS = 2_000
"""The file is in memory: a writer is done in microseconds."""


class Observations:
    """Written by ``trivet-engine-jobs``, read by ``trivet-engine-web``. Ages are judged by the monotonic clock of
    this machine."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._bodies: dict[str, object] = {}
        """Saying → JSON data, as of the last reading."""
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
            text = json.dumps(body)
            # By its content: who says the same again has said nothing that must be read.
            saying = hashlib.blake2b(f"{node}\0{kind}\0{text}".encode(), digest_size=SAYING_BYTES).hexdigest()
            self._database.execute_sql(PUT, (node, kind, text, str(self._clock.monotonic_s()), saying))

    def drop(self, node: str) -> None:
        """Forget all that ``node`` said."""
        with explained():
            Observation.delete().where(Observation.node == node).execute()

    def all(self) -> dict[tuple[str, str], Heard]:
        """(node, kind) → :class:`engine.store.records.Heard`, one consistent reading. What was said once is one object for
        as long as nothing newer was said."""
        now_s, bodies = self._clock.monotonic_s(), self._bodies
        with explained():
            rows = self._database.execute_sql(ROWS).fetchall()
            if any(saying not in bodies for _node, _kind, _heard, saying in rows):
                with self._database.atomic():
                    rows = self._database.execute_sql(ROWS).fetchall()
                    bodies = {saying: bodies[saying] if saying in bodies else self._body(saying) for *_one, saying in rows}
                self._bodies = bodies
        return {
            (node, kind): Heard(node, kind, bodies[saying], max(0.0, now_s - float(heard)))
            for node, kind, heard, saying in rows
        }

    def _body(self, saying: str) -> object:
        ((text,),) = self._database.execute_sql(BODY, (saying,)).fetchall()
        return json.loads(text)
