"""The exact lock model of the simulated volume: the measured facts, one by one."""

from __future__ import annotations

import errno

import pytest

from ha_broker.sim.connections import LOSS_S, RECONNECT_S, Stalled
from ha_broker.sim.volume import EngineVolume, Handle

HOSTS = ("node1", "node2", "node3")
A, B, C = HOSTS


def isolate(volume: EngineVolume, host: str, wanted: str = "cut") -> None:
    change = volume.cut if wanted == "cut" else volume.mend
    for other in volume.hosts:
        if other != host:
            change(host, other)
            change(other, host)


def after(volume: EngineVolume, seconds: float) -> None:
    volume.advance(volume.now_s + seconds)


def refused(volume: EngineVolume, handle: Handle, beyond: bool = False) -> int:
    """The errno of a write; 0: it was accepted."""
    try:
        volume.write(handle, 1, beyond)
    except OSError as error:
        return error.errno or -1
    return 0


def hosts_of(handles: list[Handle]) -> set[str]:
    return {handle.host for handle in handles}


def test_one_holder_and_the_lock_refuses_the_next() -> None:
    volume = EngineVolume(HOSTS)
    handle = volume.open(A)
    assert refused(volume, handle) == 0
    with pytest.raises(OSError, match="holder") as told:
        volume.open(B)
    assert told.value.errno == errno.EAGAIN
    volume.close(handle)
    assert volume.open(B).locked == set(HOSTS)


def test_a_cut_holder_loses_its_lock_after_the_time_out_and_can_never_write_again() -> None:
    volume = EngineVolume(HOSTS)
    old = volume.open(A)
    isolate(volume, A)
    with pytest.raises(Stalled):
        volume.open(B)
    assert volume.stalled_until_s(B) == pytest.approx(LOSS_S)
    assert volume.writers() == []
    after(volume, LOSS_S)
    assert refused(volume, old) == errno.ENOTCONN
    new = volume.open(B)
    assert refused(volume, new) == 0
    isolate(volume, A, "mend")
    after(volume, RECONNECT_S)
    assert refused(volume, old) == refused(volume, old, beyond=True) == errno.EBADFD
    assert hosts_of(volume.writers()) == {B}


@pytest.mark.parametrize(("strict", "shard", "damage"), [(False, False, True), (True, True, True), (True, False, False)])
def test_without_strict_locks_or_with_shards_the_old_holder_writes_again(strict: bool, shard: bool, damage: bool) -> None:
    volume = EngineVolume(HOSTS, strict_locks=strict, shard=shard)
    old = volume.open(A)
    isolate(volume, A)
    after(volume, LOSS_S)
    volume.open(B)
    isolate(volume, A, "mend")
    after(volume, RECONNECT_S)
    assert (refused(volume, old, beyond=True) == 0) is damage
    assert (hosts_of(volume.writers()) == {A, B}) is damage


def test_a_blip_stalls_and_nothing_more() -> None:
    volume = EngineVolume(HOSTS)
    handle = volume.open(A)
    isolate(volume, A)
    after(volume, 3)
    with pytest.raises(Stalled):
        volume.write(handle, 1)
    isolate(volume, A, "mend")
    assert refused(volume, handle) == 0
    assert handle.locked == set(HOSTS)


@pytest.mark.parametrize("pair", [(A, B), (B, A)])
def test_a_one_way_cut_ends_the_connections_of_both_hosts(pair: tuple[str, str]) -> None:
    volume = EngineVolume(HOSTS)
    handle = volume.open(A)
    volume.cut(*pair)
    after(volume, LOSS_S)
    assert volume.links.up(A) == [A, C]
    assert volume.links.up(B) == [B, C]
    assert refused(volume, handle) == 0  # a majority is left
    assert handle.locked == {A, C}


def test_a_brick_restart_forgets_its_lock_and_the_second_one_ends_the_holder() -> None:
    volume = EngineVolume(HOSTS)
    handle = volume.open(A)
    for brick, left in ((B, 0), (C, errno.EBADFD)):
        volume.kill_brick(brick)
        volume.start_brick(brick)
        after(volume, RECONNECT_S)
        assert refused(volume, handle) == left
    view = {brick.host: (brick.connected, brick.open) for brick in volume.brick_view(A)}
    assert view == {A: (True, True), B: (True, False), C: (True, False)}


@pytest.mark.parametrize(("brick", "damage"), [(A, False), (B, False), (C, True)])
def test_without_the_gate_a_restart_of_the_last_brick_lets_a_second_writer_in(brick: str, damage: bool) -> None:
    for gate in (True, False):
        volume = EngineVolume(HOSTS, gate=gate)
        holder = volume.open(A)
        volume.kill_brick(brick)
        volume.start_brick(brick)
        after(volume, RECONNECT_S)
        if gate or not damage:
            with pytest.raises(OSError, match="Errno 11"):
                volume.open(B)
        else:
            volume.open(B)
        assert refused(volume, holder) == 0
        assert (hosts_of(volume.writers()) == {A, B}) is (damage and not gate)


def test_a_migration_after_each_restart_opens_it_anew_on_all_bricks() -> None:
    volume = EngineVolume(HOSTS)
    handle = volume.open(A)
    for brick, target in ((B, B), (C, C), (A, A)):
        volume.kill_brick(brick)
        volume.start_brick(brick)
        after(volume, RECONNECT_S)
        incoming = volume.open(target, lock=False)
        assert hosts_of(volume.writers()) == {handle.host}
        volume.unlock(handle)
        volume.lock(incoming)
        volume.close(handle)
        handle = incoming
        assert refused(volume, handle) == 0
        assert handle.locked == set(HOSTS)


def test_eviction_cuts_a_host_off_at_once() -> None:
    volume = EngineVolume(HOSTS)
    old = volume.open(A)
    volume.reject(A)
    assert refused(volume, old) == errno.ENOTCONN
    assert hosts_of(volume.writers()) == set()
    assert volume.open(B).locked == set(HOSTS)
    volume.accept(A)
    after(volume, RECONNECT_S)
    with pytest.raises(OSError, match="not connected"):  # the evicted mount has ended
        volume.use(A)
    volume.start_client(A)
    after(volume, RECONNECT_S)
    volume.use(A)
    assert refused(volume, old) == errno.ENOTCONN


def test_a_crashed_mount_loses_its_handles_and_frees_the_lock_at_once() -> None:
    volume = EngineVolume(HOSTS)
    old = volume.open(A)
    volume.kill_client(A)
    with pytest.raises(OSError, match="not connected"):
        volume.use(A)
    with pytest.raises(OSError, match="not connected"):
        volume.write(old, 1)
    volume.open(B)
    volume.start_client(A)
    after(volume, RECONNECT_S)
    volume.use(A)


def test_power_of_all_off_and_the_second_brick_gives_quorum_back() -> None:
    volume = EngineVolume(HOSTS)
    volume.open(A)
    for host in HOSTS:
        volume.power_off(host)
    after(volume, 60)
    for host, code in ((B, errno.ENOTCONN), (C, 0)):
        volume.power_on(host)
        volume.start_brick(host)
        volume.start_client(host)
        after(volume, RECONNECT_S)
        try:
            volume.use(host)
        except OSError as error:
            assert error.errno == code
        else:
            assert code == 0
    assert volume.open(C).locked == {B, C}


def test_only_a_fresh_copy_is_read_and_healing_takes_time() -> None:
    volume = EngineVolume(HOSTS)
    handle = volume.open(A)
    volume.power_off(C)
    after(volume, LOSS_S)
    assert refused(volume, handle) == 0
    volume.power_off(B)
    volume.power_on(C)
    volume.start_brick(C)
    volume.start_client(C)
    after(volume, RECONNECT_S)
    volume.copies.heal_s = 1000
    assert volume.fresh(C) == [A]
    assert volume.heal_status(C).pending == 1
    assert volume.copies.versions == {A: 1, B: 1, C: 0}


def test_a_split_brain_is_never_opened() -> None:
    volume = EngineVolume(HOSTS)
    volume.split_brain()
    with pytest.raises(OSError, match="Input/output") as told:
        volume.open(A)
    assert told.value.errno == errno.EIO
    assert volume.heal_status(A).split_brain
    volume.repair()
    volume.open(A)


def test_full_and_failing_disks_say_so() -> None:
    volume = EngineVolume(HOSTS)
    handle = volume.open(A)
    volume.full = True
    assert refused(volume, handle) == errno.ENOSPC
    volume.full = False
    volume.failing.add(A)
    assert refused(volume, handle) == errno.EIO
    volume.failing.clear()
    assert refused(volume, handle) == 0
