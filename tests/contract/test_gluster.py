"""What the fake pool and the real one have in common. The real one: node1 of the cluster that the lab tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock, SystemClock
from appliance.effects.process import Completed, SystemProcesses
from appliance.errors import Failed, NotFound
from gluster import verbs
from gluster.adapter import GlusterPool
from gluster.fake import FakePool
from gluster.model import NOBODY, REJECT, STARTED, BrickPlace, rejected
from gluster.options import options_for
from gluster.plan import wanted_volumes
from gluster.ports import Pool

PROGRAM = Path(__file__).parents[2] / "trivet"
NODE = "node1"
OTHERS = ("node2", "node3")


class InLabNode:
    """A process port whose processes run in a node of the lab."""

    def __init__(self, lab: str, node: str) -> None:
        self._inner = SystemProcesses()
        self._before = [str(PROGRAM), "lab", "exec", "--name", lab, node, "--"]

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        return self._inner.run([*self._before, *argv], timeout_s=timeout_s, stdin=stdin, env=env, cwd=cwd, ok=ok)

    def stream(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        line: Callable[[str], None],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] = (0,),
        cancelled: Callable[[], bool] | None = None,
    ) -> int:
        inner = self._inner
        return inner.stream(
            [*self._before, *argv], timeout_s=timeout_s, line=line, env=env, cwd=cwd, ok=ok, cancelled=cancelled
        )


def fake_pool() -> Pool:
    pool = FakePool(NODE, (NODE, *OTHERS))
    for name in OTHERS:
        verbs.probe(pool, FakeClock(), name)
    for spec in wanted_volumes([(name, "/data/bricks") for name in (NODE, *OTHERS)]):
        verbs.create_volume(pool, spec)
        verbs.start(pool, spec.name)
    return pool


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.lab, pytest.mark.cluster])])
def pool(request: pytest.FixtureRequest) -> Pool:
    if request.param == "fake":
        return fake_pool()
    return GlusterPool(InLabNode(request.getfixturevalue("installed"), NODE), SystemClock())


class TestPool:
    def test_the_other_nodes_are_settled_peers(self, pool: Pool) -> None:
        assert [(peer.name, peer.connected, peer.state) for peer in pool.peers()] == [
            (name, True, verbs.PEER_SETTLED) for name in OTHERS
        ]

    @pytest.mark.parametrize("name", ["engine", "vmstore"])
    def test_volumes_have_three_bricks_and_our_options(self, pool: Pool, name: str) -> None:
        (volume,) = [one for one in pool.volumes() if one.name == name]
        assert (volume.status, volume.kind, volume.replica) == (STARTED, "Replicate", 3)
        assert [place.host for place in volume.places] == [NODE, *OTHERS]
        assert verbs.set_options(pool, name, options_for(name)) == ()

    def test_bricks_run(self, pool: Pool) -> None:
        states = pool.brick_states()
        assert set(states) >= {"engine", "vmstore"}
        for state in (*states["engine"], *states["vmstore"]):
            assert state.online
            assert state.pid > 0
            assert 0 < state.free_bytes <= state.size_bytes

    def test_heal_summary_names_the_bricks_in_order(self, pool: Pool) -> None:
        (volume,) = [one for one in pool.volumes() if one.name == "engine"]
        heals = pool.heal_summary("engine")
        assert tuple(heal.place for heal in heals) == volume.places
        assert all(heal.connected and heal.split_brain == 0 for heal in heals)

    def test_no_file_of_a_sound_volume_is_in_split_brain(self, pool: Pool) -> None:
        assert pool.split_brain_files("engine") == ()

    def test_probing_a_peer_again_is_nothing(self, pool: Pool) -> None:
        pool.probe(OTHERS[0])
        assert [peer.name for peer in pool.peers()] == list(OTHERS)

    def test_starting_again_keeps_the_bricks(self, pool: Pool) -> None:
        before = [state.pid for state in pool.brick_states()["engine"]]
        pool.start("engine")
        assert [state.pid for state in pool.brick_states()["engine"]] == before

    def test_healing_may_be_asked_at_any_time(self, pool: Pool) -> None:
        pool.heal("vmstore")
        assert all(heal.connected for heal in pool.heal_summary("vmstore"))

    def test_creating_again_is_refused_by_the_port_and_nothing_by_the_verb(self, pool: Pool) -> None:
        (volume,) = [one for one in pool.volumes() if one.name == "engine"]
        spec = next(
            one
            for one in wanted_volumes([(name, str(Path(volume.bricks[0].path).parent)) for name in (NODE, *OTHERS)])
            if one.name == "engine"
        )
        with pytest.raises(Failed) as caught:
            pool.create(spec)
        assert caught.value.code == "gluster.failed"
        verbs.create_volume(pool, spec)
        assert [one for one in pool.volumes() if one.name == "engine"] == [volume]

    def test_an_unknown_volume_is_not_found(self, pool: Pool) -> None:
        for ask in (pool.start, pool.heal, lambda name: pool.set_options(name, {"features.shard": "off"})):
            with pytest.raises(NotFound) as caught:
                ask("nosuch")
            assert caught.value.code == "gluster.volume-unknown"

    def test_an_unknown_option_changes_nothing(self, pool: Pool) -> None:
        before = [volume.options for volume in pool.volumes()]
        with pytest.raises(Failed) as caught:
            pool.set_options("vmstore", {"nosuchoption": "on"})
        assert caught.value.code == "gluster.failed"
        assert [volume.options for volume in pool.volumes()] == before

    def test_clients_are_refused_by_address_until_that_is_taken_back(self, pool: Pool) -> None:
        def refused() -> frozenset[str]:
            return next(rejected(one.options.get(REJECT, "")) for one in pool.volumes() if one.name == "vmstore")

        strangers = ("192.0.2.7", "192.0.2.8")  # of the documentation's network: nobody is cut off here
        assert verbs.reject(pool, "vmstore", strangers)
        assert refused() == set(strangers)
        assert not verbs.reject(pool, "vmstore", strangers[::-1])
        assert verbs.reject(pool, "vmstore", strangers[:1])
        assert refused() == {"192.0.2.7"}
        assert verbs.reject(pool, "vmstore", ())
        assert [one.options[REJECT] for one in pool.volumes() if one.name == "vmstore"] == [NOBODY], "never without a value"
        assert not verbs.reject(pool, "vmstore", ())
        assert refused() == frozenset()

    def test_bricks_are_told_anew_whom_they_refuse_by_a_value_that_says_the_same(self, pool: Pool) -> None:
        def value() -> str:
            return next(one.options.get(REJECT, "") for one in pool.volumes() if one.name == "vmstore")

        for strangers in ((), ("192.0.2.7", "192.0.2.8")):
            verbs.reject(pool, "vmstore", strangers)
            values = [value()]
            for _ in range(2):
                verbs.renew_refusals(pool, "vmstore")
                values.append(value())
            assert values[0] != values[1] != values[2]
            assert [rejected(one) for one in values] == 3 * [frozenset(strangers)]
        assert verbs.reject(pool, "vmstore", ())

    def test_a_peer_that_is_not_there_fails(self, pool: Pool) -> None:
        with pytest.raises(Failed) as caught:
            pool.probe("nosuch-node")
        assert caught.value.code == "gluster.failed"
        assert "nosuch-node" not in [peer.name for peer in pool.peers()]

    def test_a_brick_of_a_stranger_is_refused(self, pool: Pool) -> None:
        folders = [(name, "/data/nowhere") for name in (NODE, OTHERS[0], "stranger")]
        (spec,) = [one for one in wanted_volumes(folders) if one.name == "engine"]
        assert BrickPlace("stranger", "/data/nowhere/engine") in spec.bricks
        with pytest.raises(Failed):
            pool.create(spec)
