"""``kill -9`` of the jobs process anywhere while bricks are told anew whom they refuse: another order may follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import Failed, TrivetError
from engine.jobs.desk import Desk
from engine.jobs.pool_admit import AdmitToPool, PoolAdmit
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.jobs import LOCK
from tests.engine.crash import DATABASE, HOSTS, cancelled, kill_case, order
from tests.engine.job_world import desk_of, open_store

BROKEN = Failed("gluster.failed", subject="volume vmstore", reason="it says no", remedy="Mend it.")
admit = order(PoolAdmit, AdmitToPool("s1", "vmstore", ("node2",)))


@dataclass(frozen=True)
class Case:
    """``left``: whether the host is shut out at the end."""

    name: str
    order: Callable[[Desk], str]
    status: str
    left: bool
    fail_with: dict[str, TrivetError] = field(default_factory=dict)
    places: int = 8


CASES = (
    Case("let-in", admit, "finished", left=False, places=10),
    Case("pool-refuses", admit, "failed", left=True, fail_with={"refusals": BROKEN}, places=6),
    Case("cancelled", cancelled(admit), "aborted", left=True, places=2),
)


def prepare(folder: Path, _case: Case) -> None:
    store = open_store(folder / DATABASE)
    entities = store.entities
    entities.change("storage_domain", "s1", lambda one: one.with_body(storage={"type": "glusterfs", "path": "/vmstore"}))
    for host in ("node1", "node2"):
        entities.add(Entity("host", host, host, {}, {"cluster": ("c1",)}))
    store.close()
    pool = folder / HOSTS / "pool"
    pool.mkdir(parents=True)
    (pool / "vmstore.shut.node2").write_text("node2")


def check(case: Case, folder: Path, job_id: str, where: str) -> None:
    store, pool = Store(folder / DATABASE), folder / HOSTS / "pool"
    ended = desk_of(store).jobs.need(job_id)
    assert (ended.state, ended.status) == ("ended", case.status), (where, ended.error)
    assert (pool / "vmstore.shut.node2").exists() == case.left, where
    assert ended.status != "finished" or ended.result == {"left": []}, where
    assert store.connection.rows(LOCK.select()) == [], where
    store.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_killed_at_every_place(case: Case, tmp_path: Path) -> None:
    kill_case(tmp_path, case, prepare, check)
