"""Disk verbs with the real qemu-img on real files: what each leaves, refuses, and does when asked again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.agent.disk_routes import DiskRoutes, TaskRoutes
from appliance.effects.disk_bytes import OWNER_ATTRIBUTE
from appliance.errors import Conflict, TrivetError
from appliance.fakes.wire import FakeWire
from appliance.model.disk import DiskCopy, DiskFile, NewDisk
from appliance.model.task import TaskState
from appliance.verbs.disks import DISK_MODE
from appliance.wire.disk_api import DiskApi, TaskApi
from tests.contract.disk_node import MIB, Node

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed: `make dev` does it")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    assert node.left() == [], "no half-made file stays"


@pytest.mark.parametrize(
    ("kind", "preallocation", "least"),
    [("raw", "off", 0), ("qcow2", "off", 0), ("qcow2", "metadata", 0), ("raw", "falloc", 8 * MIB), ("raw", "full", 8 * MIB),
     ("qcow2", "falloc", 8 * MIB), ("qcow2", "full", 8 * MIB)],
)  # fmt: skip
def test_create(node: Node, kind: str, preallocation: str, least: int) -> None:
    file = DiskFile("data", "images/d1/v1", kind)  # type: ignore[arg-type]
    new = NewDisk(file, 8 * MIB, preallocation)  # type: ignore[arg-type]
    node.done(node.disks.create("one", new))
    (found,) = node.chains.chain(file)
    assert (found.virtual_bytes, found.backing, found.qcow_version) == (8 * MIB, None, 3 if kind == "qcow2" else 0)
    assert found.actual_bytes >= least and (least or found.actual_bytes < MIB)
    assert node.at(file).stat().st_mode & 0o777 == DISK_MODE
    assert os.getxattr(node.at(file), OWNER_ATTRIBUTE) == b"one"


def test_what_exists_is_never_made_again_except_by_the_task_that_was_asked_again(node: Node) -> None:
    file = node.create("v1")
    node.write(file, "write -P 7 0 64k")
    assert node.failed(node.disks.create("another", NewDisk(file, 8 * MIB))) == "disk.exists"
    node.tasks.forget("task-1")  # as after the loss of the agent's records
    node.done(node.disks.create("task-1", NewDisk(file, 8 * MIB)))
    node.holds(file, (7, 0, 65536))


def test_what_no_disk_can_be(node: Node) -> None:
    raw, layer = DiskFile("data", "r"), DiskFile("data", "l", "qcow2")
    base = node.create("base")
    assert node.failed(node.disks.create("a", NewDisk(raw, 0))) == "disk.size"
    assert node.failed(node.disks.create("b", NewDisk(raw, MIB, "metadata"))) == "disk.preallocation"
    assert node.failed(node.disks.create("c", NewDisk(raw, MIB, backing=base))) == "disk.backing"
    assert node.failed(node.disks.create("d", NewDisk(DiskFile("other", "l", "qcow2"), 0, backing=base))) == "disk.backing"
    assert node.failed(node.disks.create("e", NewDisk(layer, 0, backing=DiskFile("data", "no")))) == "file.unknown"
    assert node.failed(node.disks.create("f", NewDisk(DiskFile("data", "../x"), MIB))) == "file.path"
    assert node.failed(node.disks.create("g", NewDisk(DiskFile("gone", "x"), MIB))) == "volume.not-mounted"


def chain_of_three(node: Node) -> tuple[DiskFile, DiskFile, DiskFile]:
    base = node.create("images/d1/base", "raw")
    middle = node.create("images/d1/middle", size=0, backing=base)
    top = node.create("images/d1/top", size=0, backing=middle)
    node.write(base, "write -P 1 0 3M")
    node.write(middle, "write -P 2 1M 1M")
    node.write(top, "write -P 3 2M 1M")
    return base, middle, top


GUEST_SEES = ((1, 0, MIB), (2, MIB, MIB), (3, 2 * MIB, MIB), (0, 3 * MIB, 5 * MIB))


def test_a_chain_is_told_from_top_to_base(node: Node) -> None:
    base, middle, top = chain_of_three(node)
    found = node.chains.chain(top)
    assert [one.file for one in found] == [top, middle, base]
    assert [one.backing for one in found] == [middle, base, None]
    assert node.chains.measure(top, "raw").full_bytes == 8 * MIB
    shutil.move(node.places["data"] / "images", node.places["other"] / "images")
    moved = [DiskFile("other", file.path, file.format) for file in (top, middle, base)]
    assert [one.file for one in node.chains.chain(moved[0])] == moved, "the names hold wherever the domain is mounted"


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
@pytest.mark.parametrize("preallocation", ["off", "falloc"])
def test_a_copy_folds_the_chain_into_one(node: Node, kind: str, preallocation: str) -> None:
    *_, top = chain_of_three(node)
    target = DiskFile("other", "copy", kind)  # type: ignore[arg-type]
    node.done(node.disks.copy("copy", DiskCopy(top, target, preallocation)))  # type: ignore[arg-type]
    (found,) = node.chains.chain(target)
    assert found.actual_bytes < 4 * MIB if preallocation == "off" else found.actual_bytes >= 8 * MIB
    node.holds(target, *GUEST_SEES)
    assert node.done(node.disks.compare("same", top, target)).result == {"identical": True}
    node.write(target, "write -P 9 7M 512")
    assert node.done(node.disks.compare("differ", top, target)).result == {"identical": False}


def test_a_layer_is_copied_over_its_copied_base(node: Node) -> None:
    base, middle, top = chain_of_three(node)
    below: DiskFile | None = None
    for file in (base, middle, top):
        target = DiskFile("other", file.path, file.format)
        node.done(node.disks.copy(node.next(), DiskCopy(file, target, backing=below)))
        below = target
    copied = node.chains.chain(below)  # type: ignore[arg-type]
    assert [one.file.path for one in copied] == [top.path, middle.path, base.path]
    assert all(one.actual_bytes < 2 * MIB for one in copied[:2]), "only what differs was copied"
    node.holds(copied[0].file, *GUEST_SEES)


def test_move(node: Node) -> None:
    file = node.create("a/v1")
    node.write(file, "write -P 5 0 1M")
    near, far = DiskFile("data", "b/v1", "qcow2"), DiskFile("other", "c/v1", "qcow2")
    node.done(node.disks.move("near", file, near))
    node.done(node.disks.move("far", near, far))
    assert not node.at(file).exists() and not node.at(near).exists()
    node.holds(far, (5, 0, MIB))
    node.tasks.forget("far")
    node.done(node.disks.move("far", near, far))
    assert node.failed(node.disks.move("again", near, far)) == "disk.exists"
    *_, top = chain_of_three(node)
    assert node.failed(node.disks.move("layer", top, DiskFile("other", "l", "qcow2"))) == "disk.backing"
    assert node.failed(node.disks.move("kind", far, DiskFile("data", "l", "raw"))) == "disk.format"


@pytest.mark.parametrize("wipe", [False, True])
def test_remove(node: Node, wipe: bool) -> None:
    file = node.create("v1", "raw")
    node.write(file, "write -P 5 1M 1M")
    held = node.at(file).open("rb")
    (node.at(file).with_name(".v1.lost-task.new")).write_text("half")
    node.done(node.disks.remove("gone", file, wipe))
    assert not node.at(file).exists()
    held.seek(MIB)
    assert held.read(MIB) == bytes([0 if wipe else 5]) * MIB
    assert os.fstat(held.fileno()).st_blocks * 512 < 2 * MIB, "holes were left holes"
    held.close()
    node.done(node.disks.remove("twice", file, wipe))


def test_an_empty_folder_goes_with_its_last_disk(node: Node) -> None:
    first, second = node.create("disk/v1", "raw"), node.create("disk/v2", "raw")
    node.done(node.disks.remove("one", first, False))
    assert node.at(second).exists()
    node.done(node.disks.remove("other", second, False))
    assert not node.at(second).parent.exists()
    node.done(node.disks.remove("twice", second, False))
    top = node.create("v3", "raw")
    domain = node.at(top).parent
    node.done(node.disks.remove("top", top, False))
    assert domain.is_dir(), "the domain stays, also when it is empty"


def test_a_wipe_that_was_broken_off_is_finished(node: Node) -> None:
    file = node.create("v1", "raw")
    node.at(file).rename(node.at(file).with_name(".v1.wipe"))
    node.done(node.disks.remove("again", file, True))


def test_resize_only_grows(node: Node) -> None:
    for kind in ("raw", "qcow2"):
        file = node.create(kind, kind)
        node.write(file, "write -P 5 0 1M")
        node.done(node.disks.resize(node.next(), file, 16 * MIB))
        node.done(node.disks.resize(node.next(), file, 16 * MIB))
        assert node.chains.look(file).virtual_bytes == 16 * MIB
        node.holds(file, (5, 0, MIB), (0, 15 * MIB, MIB))
        assert node.failed(node.disks.resize(node.next(), file, 8 * MIB)) == "disk.shrink"


def test_check_and_repair(node: Node) -> None:
    file, raw = node.create("v1"), node.create("r1", "raw")
    clean = {"errors": 0, "leaks": 0, "fixed": 0}
    assert node.done(node.disks.check("raw", raw, False)).result == clean
    node.write(file, "write -P 5 0 1M")
    assert node.done(node.disks.check("clean", file, False)).result == clean
    with node.at(file).open("r+b") as stream:  # the L1 entry points nowhere: its clusters leak
        stream.seek(0x28)
        table = int.from_bytes(stream.read(8), "big")
        stream.seek(table)
        stream.write(bytes(8))
    found = node.done(node.disks.check("leaks", file, False)).result
    assert found["leaks"] and not found["errors"] and not found["fixed"]
    assert node.done(node.disks.check("repair", file, True)).result["fixed"]
    assert node.done(node.disks.check("after", file, False)).result == clean


def test_commit_into_the_next_and_into_the_base(node: Node) -> None:
    base, middle, top = chain_of_three(node)
    assert node.failed(node.disks.commit("wrong", middle, top)) == "disk.chain"
    node.done(node.disks.commit("next", top, middle))
    node.holds(middle, *GUEST_SEES)
    node.done(node.disks.commit("base", top, base))
    node.holds(base, *GUEST_SEES)
    for file in (middle, top):
        node.holds(file, *GUEST_SEES)


def test_rebase(node: Node) -> None:
    base, middle, top = chain_of_three(node)
    node.done(node.disks.rebase("safe", top, base, False))
    assert [one.file for one in node.chains.chain(top)] == [top, base]
    node.holds(top, *GUEST_SEES)
    node.done(node.disks.rebase("flat", top, None, False))
    assert node.chains.look(top).backing is None
    node.holds(top, *GUEST_SEES)
    node.at(base).rename(node.at(base).with_name("renamed"))
    node.done(node.disks.rebase("unsafe", middle, DiskFile("data", "images/d1/renamed"), True))
    node.holds(middle, (1, 0, MIB), (2, MIB, MIB))


def test_the_checksum_is_that_of_the_file(node: Node) -> None:
    file = node.create("v1", "raw", MIB)
    found = node.done(node.disks.checksum("sum", file)).result
    argv = ["sha256sum", str(node.at(file))]
    known = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    assert found == {"sha256": known, "bytes": MIB}


@pytest.mark.parametrize(
    "evil",
    ["/etc/passwd", "../../../../../../etc/passwd", "nbd://127.0.0.1:9/x", 'json:{"driver":"raw","file.filename":"/x"}'],
)
def test_a_header_never_leads_out_of_the_domain(node: Node, evil: str) -> None:
    file = node.create("evil")
    argv = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", evil, str(node.at(file))]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)
    copy = DiskCopy(file, DiskFile("data", "copy"))
    assert node.failed(node.disks.copy("copy", copy)) == "disk.backing"
    with pytest.raises(TrivetError) as caught:
        node.chains.measure(file, "raw")
    assert caught.value.code == "disk.backing"
    assert not node.at(copy.target).exists()


def test_a_raw_disk_is_never_read_as_what_its_guest_wrote_into_it(node: Node) -> None:
    inner, file = node.create("inner"), node.create("v1", "raw")
    shutil.copy(node.at(inner), node.at(file))
    (found,) = node.chains.chain(file)
    assert (found.virtual_bytes, found.qcow_version) == (-(-node.at(inner).stat().st_size // 512) * 512, 0)


@contextmanager
def written_to(node: Node, file: DiskFile) -> Iterator[None]:
    """A program of QEMU has the disk open and writes to it, as a running VM does."""
    argv = ["qemu-io", "-f", "qcow2", str(node.at(file))]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("write 0 512\n")
    process.stdin.flush()
    assert "wrote" in process.stdout.readline()
    yield
    process.communicate("quit\n", timeout=20)


@pytest.fixture
def held(node: Node) -> Iterator[DiskFile]:
    """A disk that is written to."""
    file = node.create("v1")
    with written_to(node, file):
        yield file


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_what_a_snapshot_keeps_is_copied_while_its_vm_writes_above(node: Node, kind: str) -> None:
    _, middle, top = chain_of_three(node)
    target = DiskFile("other", "copy", kind)  # type: ignore[arg-type]
    with written_to(node, top):
        node.done(node.disks.copy("copy", DiskCopy(middle, target)))
        assert node.failed(node.disks.copy("now", DiskCopy(top, DiskFile("other", "now")))) == "disk.locked"
        assert [one.file for one in node.chains.chain(target)] == [target], "it depends on nobody"
    node.holds(target, (1, 0, MIB), (2, MIB, MIB), (1, 2 * MIB, MIB), (0, 3 * MIB, 5 * MIB))
    node.holds(top, (0xCD, 0, 512), (3, 2 * MIB, MIB))


def test_a_disk_in_use_is_looked_at_and_left_alone(node: Node, held: DiskFile) -> None:
    assert node.chains.look(held).virtual_bytes == 8 * MIB
    disks, other = node.disks, DiskFile("other", "x", "qcow2")
    begin: list[Callable[[], TaskState]] = [
        lambda: disks.remove("a", held, False),
        lambda: disks.remove("b", held, True),
        lambda: disks.resize("c", held, 16 * MIB),
        lambda: disks.move("d", held, DiskFile("data", "y", "qcow2")),
        lambda: disks.move("e", held, other),
        lambda: disks.copy("f", DiskCopy(held, other)),
        lambda: disks.check("g", held, True),
        lambda: disks.rebase("h", held, None, False),
    ]
    # one after the other: on a slow machine the one before may still be at it
    assert [node.failed(one()) for one in begin] == ["disk.locked"] * len(begin)
    assert node.at(held).exists() and not node.at(other).exists()


def slow_qemu_img(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A qemu-img that says it is half-way and stays there; the file tells its process id."""
    tool, told = folder / "bin" / "qemu-img", folder / "pid"
    tool.parent.mkdir()
    tool.write_text(f"""\
#!/bin/sh
case "$1" in info) exec /usr/bin/qemu-img "$@";; esac
for last; do :; done
touch "$last"
echo $$ > {told}.new && mv {told}.new {told}
printf '    (50.00/100%%)\\r    (50.00/100%%)\\r'
exec sleep 300
""")
    tool.chmod(0o755)
    from appliance.effects import process

    path = f"{tool.parent}:{process.BASE_ENVIRONMENT['PATH']}"
    monkeypatch.setitem(process.BASE_ENVIRONMENT, "PATH", path)
    return told


def test_a_long_copy_tells_how_far_it_is_and_is_cancelled(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = node.create("v1"), DiskFile("other", "copy")
    told = slow_qemu_img(tmp_path, monkeypatch)
    state = node.disks.copy("copy", DiskCopy(source, target))
    assert (state.state, state.percent) == ("running", 50.0)
    assert node.failed(node.disks.copy("second", DiskCopy(source, target))) == "disk.busy"
    assert [path.name for path in node.places["other"].iterdir()] == [".copy.copy.new"]
    state = node.tasks.cancel("copy")
    while not state.ended:
        state = node.tasks.state("copy")
    assert state.state == "cancelled"
    assert not Path(f"/proc/{told.read_text().strip()}").exists()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_copy_ends_with_its_agent(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent is killed; whatever it ran goes with it, and the next agent can do the work again under the same id."""
    source, target = node.create("v1"), DiskFile("other", "copy")
    node.write(source, "write -P 5 0 1M")
    told = slow_qemu_img(tmp_path, monkeypatch)
    agent = os.fork()
    if agent == 0:  # an agent of its own, without pytest's threads
        try:
            Node(tmp_path).disks.copy("copy", DiskCopy(source, target))
            time.sleep(60)
        finally:
            os._exit(1)
    while not told.exists():
        time.sleep(0.05)
    child = int(told.read_text())
    os.kill(agent, 9)
    os.waitpid(agent, 0)
    end_s = time.monotonic() + 10
    while running(child):
        assert time.monotonic() < end_s, "qemu-img goes on without its agent"
        time.sleep(0.02)
    assert node.left() == [".copy.copy.new"]
    monkeypatch.undo()
    after = Node(tmp_path)
    assert after.tasks.state("copy").state == "lost"
    after.done(after.disks.copy("copy", DiskCopy(source, target)))
    after.holds(target, (5, 0, MIB))


def test_over_the_wire(node: Node) -> None:
    """As the engine calls it: everything through the codec, errors of tasks as errors of their family again."""
    wire = FakeWire()
    disks: DiskApi = wire.client(DiskApi, DiskRoutes(node.chains, node.disks, node.bitmaps))
    tasks: TaskApi = wire.client(TaskApi, TaskRoutes(node.tasks))
    base, top = DiskFile("data", "base"), DiskFile("data", "top", "qcow2")
    assert disks.disk_create("one", NewDisk(base, MIB)).ended
    assert node.done(disks.disk_create("two", NewDisk(top, 0, backing=base))) in tasks.tasks()
    assert [one.file for one in disks.disk_chain(top)] == [top, base]
    assert node.done(disks.disk_checksum("sum", base)).result["bytes"] == MIB
    assert node.failed(disks.disk_create("again", NewDisk(base, MIB))) == "disk.exists"
    error = tasks.task("again").error
    assert error is not None and isinstance(error.as_error(), Conflict)
    tasks.task_forget("again")
    with pytest.raises(TrivetError) as caught:
        tasks.task("again")
    assert caught.value.code == "task.unknown"
