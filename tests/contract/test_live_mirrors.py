"""One contract for disks that go over to another domain while their VM runs: the fake libvirt, and QEMU (test_live_vms)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.effects import disk_bytes
from appliance.errors import Failed, Unavailable
from appliance.fakes.libvirt import FakeLibvirt
from appliance.model.disk import DiskCopy, DiskFile
from appliance.model.vm import VmDisk
from appliance.model.vm_live import DiskMerge, DiskMirror
from tests.contract.disk_node import MIB
from tests.contract.live_node import NAME, LiveNode, code, failed
from tests.contract.test_live_disks import snapshot

THERE = DiskFile("other", "vm/a", "qcow2")
WHOLE = DiskMirror("a", THERE)


def is_real(node: LiveNode) -> bool:
    """The fake has no bytes."""
    return not isinstance(node.hypervisor, FakeLibvirt)


def power(node: LiveNode) -> str:
    return next(one.power for one in node.vms.vms() if one.name == NAME)


def moved(node: LiveNode, mirror: DiskMirror = WHOLE) -> None:
    node.done(node.mirrors.mirror(node.next(), NAME, mirror))
    node.done(node.mirrors.pivot(node.next(), NAME, mirror))


def sound(node: LiveNode, file: DiskFile) -> None:
    assert node.done(node.disks.check(node.next(), file, False)).result == {"errors": 0, "leaks": 0, "fixed": 0}


def test_a_disk_goes_over_while_the_guest_writes(node: LiveNode) -> None:
    node.start()
    node.guest_writes(1, "0", "4M")
    node.done(node.mirrors.mirror("mirror", NAME, WHOLE))
    job = node.live.job(NAME, "a")
    assert job is not None and (job.kind, job.ready, job.target) == ("copy", True, str(node.at(THERE)))
    assert node.chain() == ["a"] and node.written() == str(node.at(node.a)), "until the pivot it writes where it did"
    assert not node.chains.look(THERE).mirrored
    node.guest_writes(2, "2M", "1M")
    node.done(node.mirrors.pivot("pivot", NAME, WHOLE))
    assert power(node) == "running" and node.live.job(NAME, "a") is None
    assert node.written() == str(node.at(THERE)) and node.chains.look(THERE).mirrored
    assert not node.chains.look(node.a).mirrored, "which of the two is newer is written down"
    node.guest_writes(3, "7M", "1M")
    for task, verb in (("mirror2", node.mirrors.mirror), ("pivot2", node.mirrors.pivot)):
        assert node.ended(verb(task, NAME, WHOLE)).state == "done", "who has gone over has gone over"
    assert code(lambda: node.mirrors.break_off(NAME, WHOLE)) == "vm.mirror"
    node.done(node.disks.remove("gone", node.a, False))
    node.vms.destroy(NAME)
    if is_real(node):
        node.holds(THERE, (1, 0, 2 * MIB), (2, 2 * MIB, MIB), (1, 3 * MIB, MIB), (0, 4 * MIB, 3 * MIB), (3, 7 * MIB, MIB))
        sound(node, THERE)


def test_a_chain_goes_over_layer_by_layer_and_is_merged_there(node: LiveNode) -> None:
    node.start()
    node.guest_writes(1, "0", "3M")
    s1, s2 = snapshot(node, "s1", "s2")
    node.guest_writes(2, "2M", "1M")
    below = [replace(one, domain="other") for one in (node.a, s1)]
    node.done(node.disks.copy("c1", DiskCopy(node.a, below[0])))
    node.done(node.disks.copy("c2", DiskCopy(s1, below[1], backing=below[0])))
    mirror = DiskMirror("a", replace(s2, domain="other"), below[1])
    moved(node, mirror)
    assert node.chain() == ["s2", "s1", "a"]
    found = node.domain().disk("a")
    assert found is not None
    assert {Path(one.path).parent.parent for one in found.layers} == {node.places["other"]}
    assert [one.file for one in node.chains.chain(mirror.target)] == [mirror.target, *below[::-1]], "with relative names"
    node.guest_writes(3, "4M", "1M")
    node.done(node.live.merge("middle", NAME, DiskMerge("a", below[0], below[1])))
    node.done(node.live.merge("active", NAME, DiskMerge("a", below[0])))
    assert node.chain() == ["a"]
    node.vms.destroy(NAME)
    if is_real(node):
        node.holds(below[0], (1, 0, 2 * MIB), (2, 2 * MIB, MIB), (0, 3 * MIB, MIB), (3, 4 * MIB, MIB))
        sound(node, below[0])


def test_a_raw_disk_that_is_paused_stays_so(node: LiveNode) -> None:
    b = node.create("vm/b", "raw")
    node.spec = replace(node.spec, disks=(*node.spec.disks, VmDisk(str(node.at(b)), "b", "raw")))
    node.start()
    node.guest_writes(5, "1M", "1M", "b")
    node.vms.pause(NAME)
    mirror = DiskMirror("b", DiskFile("other", "vm/b"), preallocation="falloc", stays_paused=True)
    moved(node, mirror)
    assert power(node) == "paused" and node.written("b") == str(node.at(mirror.target))
    node.vms.resume(NAME)
    node.guest_reads(5, "1M", "1M", "b")
    node.guest_writes(6, "0", "1M", "b")
    node.vms.destroy(NAME)
    if is_real(node):
        node.holds(mirror.target, (6, 0, MIB), (5, MIB, MIB), (0, 2 * MIB, 6 * MIB))


def test_it_is_broken_off_and_begun_again(node: LiveNode) -> None:
    node.start()
    node.guest_writes(1, "0", "1M")
    assert failed(node, node.mirrors.pivot("early", NAME, WHOLE)) == "vm.mirror"
    assert power(node) == "running", "nothing is mirrored, so it goes on"
    node.done(node.mirrors.mirror("mirror", NAME, WHOLE))
    node.mirrors.break_off(NAME, WHOLE)
    node.mirrors.break_off(NAME, WHOLE)
    assert node.live.job(NAME, "a") is None and node.written() == str(node.at(node.a))
    assert failed(node, node.mirrors.mirror("other", NAME, WHOLE)) == "disk.exists"
    node.guest_writes(2, "0", "1M")
    node.tasks.forget("mirror")
    node.done(node.mirrors.mirror("mirror", NAME, WHOLE))  # what it left is its own
    node.done(node.mirrors.pivot("pivot", NAME, WHOLE))
    node.guest_reads(2, "0", "1M")
    nobody = DiskMirror("no", THERE)
    assert failed(node, node.mirrors.mirror("no", NAME, nobody)) == "vm.disk-unknown"
    assert failed(node, node.mirrors.pivot("nobody", "nobody", WHOLE)) == "vm.unknown"


def test_a_mirror_is_waited_for_when_its_task_was_lost(node: LiveNode) -> None:
    node.start()
    node.guest_writes(1, "0", "1M")
    node.done(node.mirrors.mirror("first", NAME, WHOLE))
    node.done(node.mirrors.mirror("again", NAME, WHOLE))
    elsewhere = DiskMirror("a", DiskFile("other", "vm/elsewhere", "qcow2"))
    node.done(node.mirrors.mirror("new", NAME, elsewhere))  # nobody waits for the first any more
    job = node.live.job(NAME, "a")
    assert job is not None and job.target == str(node.at(elsewhere.target))
    node.done(node.disks.remove("gone", THERE, False))
    node.done(node.mirrors.pivot("pivot", NAME, elsewhere))
    node.guest_reads(1, "0", "1M")


def test_an_agent_that_died_between_pause_and_mark(node: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it dies, the VM stands still until the mark is written, and the same task brings it to its end."""
    node.start()
    node.guest_writes(1, "0", "1M")
    node.done(node.mirrors.mirror("mirror", NAME, WHOLE))

    def no_mark(_place: Path, *, in_force: bool) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(disk_bytes, "mark_mirror", no_mark)
        assert failed(node, node.mirrors.pivot("pivot", NAME, WHOLE)) == "vm.mirror-mark"
    assert power(node) == "paused" and not node.chains.look(THERE).mirrored
    assert node.written() == str(node.at(THERE)), "it has gone over, and writes nothing yet"
    node.tasks.forget("pivot")
    node.done(node.mirrors.pivot("pivot", NAME, WHOLE))
    assert power(node) == "running" and node.chains.look(THERE).mirrored
    node.guest_reads(1, "0", "1M")


@pytest.mark.parametrize("place", ["mirrored", "paused", "gone over", "marked"])
def test_qemu_dies_around_the_pivot(node: LiveNode, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Killed, as with its host: the mark tells which file has all that the guest was told is written; that one is sound."""
    node.start()
    node.guest_writes(1, "0", "4M")
    node.guest_flushes()
    node.done(node.mirrors.mirror("mirror", NAME, WHOLE))
    node.guest_writes(2, "2M", "3M")
    node.guest_flushes()
    real_end, real_resume = node.hypervisor.end_block_job, node.hypervisor.resume

    def end(name: str, label: str, *, pivot: bool) -> None:
        if place == "paused":
            node.kill()
        real_end(name, label, pivot)
        if place == "gone over":
            node.kill()

    def resume(name: str) -> None:
        node.kill()
        real_resume(name)

    if place == "mirrored":
        node.kill()
    monkeypatch.setattr(node.hypervisor, "end_block_job", end)
    if place == "marked":
        monkeypatch.setattr(node.hypervisor, "resume", resume)
    assert failed(node, node.mirrors.pivot("pivot", NAME, WHOLE)) == "vm.unknown"
    monkeypatch.undo()
    is_over = node.chains.look(THERE).mirrored
    assert is_over == (place == "marked"), "without the mark nothing was written to the target alone"
    if is_real(node):
        newer = THERE if is_over else node.a
        node.holds(newer, (1, 0, 2 * MIB), (2, 2 * MIB, 3 * MIB), (0, 5 * MIB, 3 * MIB))
        sound(node, newer)
        if place == "gone over":
            assert node.done(node.disks.compare("same", node.a, THERE)).result == {"identical": True}


EARLIER_CALLS = 1000
"""More than a start or a look makes: none of theirs is lost."""


@pytest.mark.parametrize("node", ["fake"], indirect=True)  # its calls can be counted
def test_libvirt_is_lost_at_every_call(node: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever call gets no answer: the guest never runs on the target before the mark, and asked again it gets there."""
    fake = node.hypervisor
    assert isinstance(fake, FakeLibvirt)
    real_door, calls, lost_at = fake._door, 0, 0

    def door(method: str) -> None:
        nonlocal calls
        calls += 1
        if calls == lost_at:
            raise Unavailable("libvirt.deadline", subject="libvirt", reason="it went away", remedy="Look.")
        real_door(method)

    monkeypatch.setattr(fake, "_door", door)
    for lost_at in range(1, 30):
        calls = -EARLIER_CALLS
        node.start()
        calls = 0
        lost = 0
        for verb in (node.mirrors.mirror, node.mirrors.pivot):
            state = node.ended(verb(f"{verb.__name__}-{lost_at}", NAME, WHOLE))
            while state.state == "failed":
                lost += 1
                assert calls >= lost_at
                is_over = node.written() == str(node.at(THERE))
                assert not (is_over and power(node) == "running" and not node.chains.look(THERE).mirrored), lost_at
                assert not (not is_over and node.at(THERE).exists() and node.chains.look(THERE).mirrored), lost_at
                node.tasks.forget(state.id)
                state = node.ended(verb(state.id, NAME, WHOLE))
        calls = -EARLIER_CALLS
        assert power(node) == "running" and node.written() == str(node.at(THERE)) and node.chains.look(THERE).mirrored
        node.vms.destroy(NAME)
        node.at(THERE).unlink()
        if not lost:
            break
    assert lost_at > 12, "every call was lost once"


def test_a_target_that_cannot_be_marked_is_not_begun(node: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_marks(_place: Path, *, in_force: bool) -> None:
        raise OSError(95, "Operation not supported")

    node.start()
    monkeypatch.setattr(disk_bytes, "mark_mirror", no_marks)
    assert failed(node, node.mirrors.mirror("mirror", NAME, WHOLE)) == "vm.mirror"
    assert node.live.job(NAME, "a") is None and not node.at(THERE).exists()


@pytest.mark.parametrize("node", ["fake"], indirect=True)  # what QEMU does in a moment cannot be caught
def test_faults_of_the_moment(node: LiveNode) -> None:
    fake = node.hypervisor
    assert isinstance(fake, FakeLibvirt)
    node.start()
    fake.stuck = True
    assert node.mirrors.mirror("slow", NAME, WHOLE).state == "running"
    assert failed(node, node.tasks.cancel("slow")) == "task.cancelled"
    assert node.live.job(NAME, "a") is None and not node.at(THERE).exists()
    fake.stuck, fake.target_fails = False, True
    assert failed(node, node.mirrors.mirror("full", NAME, WHOLE)) == "vm.mirror"
    assert not node.at(THERE).exists() and power(node) == "running"
    fake.target_fails = False
    node.done(node.mirrors.mirror("mirror", NAME, WHOLE))
    fake.fail["end_block_job"] = Failed("vm.merge", subject="VM", reason="QEMU says no", remedy="Look.")
    assert failed(node, node.mirrors.pivot("refused", NAME, WHOLE)) == "vm.mirror"
    assert power(node) == "running" and node.written() == str(node.at(node.a)), "an answer: it goes on where it wrote"
    fake.fail["end_block_job"] = Unavailable("libvirt.deadline", subject="libvirt", reason="it hangs", remedy="Look.")
    assert failed(node, node.mirrors.pivot("hangs", NAME, WHOLE)) == "libvirt.deadline"
    assert power(node) == "paused", "no answer: it may go over yet, and must not write before the mark"
    fake.fail.clear()
    node.done(node.mirrors.pivot("again", NAME, WHOLE))
    assert power(node) == "running" and node.written() == str(node.at(THERE))
