"""``kill -9`` of the jobs process anywhere while a volume's writers are made to let go, or its bricks are told anew whom
they refuse: however it ends, writers may keep their locks again, and another order may follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Failed, TrivetError
from engine.jobs.desk import Desk
from engine.jobs.pool_admit import AdmitToPool, PoolAdmit
from engine.jobs.pool_heal import HealPool, PoolHeal
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from gluster.model import EAGER_LOCK
from tests.engine.crash import DATABASE, HOSTS, cancelled, kill_case, order
from tests.engine.job_world import desk_of, open_store

BROKEN = Failed("gluster.failed", subject="volume vmstore", reason="it says no", remedy="Mend it.")
heal = order(PoolHeal, HealPool("s1", "vmstore"))
admit = order(PoolAdmit, AdmitToPool("s1", "vmstore", ("node2",)))
WAITS = "vmstore.pending"
SHUT = "vmstore.shut.node2"


@dataclass(frozen=True)
class Case:
    """``left``: whether ``ill``, the file of the fake pool that says what is to be mended, is still there at the end;
    ``eager``: the option then, empty: never touched; ``result``: the job's."""

    name: str
    order: Callable[[Desk], str]
    status: str
    left: bool
    eager: str = "on"
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    places: int = 8
    ill: str = WAITS
    result: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("heals", heal, "finished", left=False, places=16, result={"whole": True}),
    Case("heal-fails", heal, "failed", left=True, fail_with={"heal": BROKEN}, places=12),
    Case("options-fail", heal, "failed", left=True, eager="", fail_with={"options": BROKEN}),
    Case("cancelled", cancelled(heal), "aborted", left=True, eager="", places=2),
    Case("let-in", admit, "finished", left=False, eager="", places=10, ill=SHUT, result={"left": []}),
    Case("pool-refuses", admit, "failed", left=True, eager="", fail_with={"refusals": BROKEN}, places=6, ill=SHUT),
    Case("stays-out", cancelled(admit), "aborted", left=True, eager="", places=2, ill=SHUT),
)


def prepare(folder: Path, case: Case) -> None:
    store = open_store(folder / DATABASE)
    entities = store.entities
    entities.change("storage_domain", "s1", lambda one: one.with_body(storage={"type": "glusterfs", "path": "/vmstore"}))
    for host in ("node1", "node2"):
        entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    store.close()
    pool = folder / HOSTS / "pool"
    pool.mkdir(parents=True)
    (pool / case.ill).write_text("2" if case.ill == WAITS else "node2")


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, pool = Store(folder / DATABASE), folder / HOSTS / "pool"
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    assert (pool / case.ill).exists() == case.left, where
    assert (ended.result or {}) == case.result, where
    option = pool / f"vmstore.{EAGER_LOCK}"
    assert (option.read_text() if option.exists() else "") == case.eager, where
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
