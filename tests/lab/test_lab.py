"""The lab itself, on real nodes without a cluster: power, cables, commands, and that nothing is left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cluster import ROOT, Answer, trivet
from tests.lab.conftest import TREE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

GONE_S = 60.0
"""Two looks took 10 s beside two installations."""
KILLED = "testhalf"
GLUSTERD_PORT = 24007
AGENT_PORT = 54321
CONNECT = """
import socket, sys
s = socket.socket(); s.settimeout(2)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    print("answered")
except TimeoutError: print("silence")
except OSError as error: print(error)
"""


def on(lab: str, node: str, *argv: str, ok: bool = True, stdin: str | None = None) -> Answer:
    return trivet("lab", "exec", "--name", lab, node, "--", *argv, ok=ok, stdin=stdin)


def nodes(lab: str) -> dict[str, dict[str, object]]:
    return {node["name"]: node for node in trivet("lab", "status", "--name", lab, "--json").json()["nodes"]}


def leftovers(lab: str) -> list[str]:
    """All that can be left of a lab: processes, mounts in any namespace, namespaces, cgroups, folders."""
    found = [f"netns {path.name}" for path in Path("/run/netns").glob(f"trivet-{lab}-*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/trivet-lab/{lab}")]
    found += [str(path) for path in (Path("/var/lib/trivet-lab") / lab, Path("/run/trivet-lab") / lab) if path.exists()]
    found += [str(path) for path in Path("/run/systemd/nspawn/propagate").glob(f"trivet-{lab}-*")]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end while we look
            if f"trivet-lab/{lab}/" in (process / "mountinfo").read_text():
                found.append(f"mount of process {process.name}")
            if f"trivet-{lab}-".encode() in (process / "cmdline").read_bytes():
                found.append(f"process {process.name}")
    return found


@pytest.fixture
def killed_lab(alone: None) -> Iterator[str]:
    yield KILLED
    trivet("lab", "down", "--name", KILLED)


def reach(lab: str, source: str, target: str, port: int = GLUSTERD_PORT) -> str:
    return on(lab, source, "python3", "-c", CONNECT, target, str(port)).stdout.strip()


def listen(lab: str) -> None:
    """glusterd on every node is something to connect to."""
    for node in nodes(lab):
        on(lab, node, "systemctl", "start", "glusterd")


def test_nodes_are_up_with_their_names_addresses_and_the_images_units(bare_lab: str) -> None:
    found = nodes(bare_lab)
    assert [(node["power"], node["link"]) for node in found.values()] == [("on", "up")] * 3
    for name, node in found.items():
        assert on(bare_lab, name, "hostname").stdout.strip() == name
        assert str(node["address"]) in on(bare_lab, name, "ip", "-4", "address", "show").stdout
        assert on(bare_lab, name, "systemctl", "is-active", "libvirtd.socket", "systemd-networkd", ok=False).status == 0


def test_up_again_changes_nothing(bare_lab: str) -> None:
    before = nodes(bare_lab)
    trivet("lab", "up", "--name", bare_lab)
    assert nodes(bare_lab) == before


def test_a_command_gets_our_input_and_gives_its_output_and_status(bare_lab: str) -> None:
    assert on(bare_lab, "node1", "cat", stdin="through\n").stdout == "through\n"
    assert on(bare_lab, "node1", "sh", "-c", "exit 7", ok=False).status == 7
    as_json = trivet("lab", "exec", "--json", "--name", bare_lab, "node2", "--", "sh", "-c", "echo x; exit 3", ok=False)
    assert as_json.status == 3
    assert as_json.json()["stdout"] == "x\n"
    assert on(bare_lab, "node1", "env").stdout.count("PYTEST") == 0


def test_a_killed_command_does_not_stay_behind_in_the_node(bare_lab: str) -> None:
    command = [str(ROOT / "trivet"), "lab", "exec", "--name", bare_lab, "node1", "--", "sleep", "98765"]
    with subprocess.Popen(command) as running:
        while not on(bare_lab, "node1", "pgrep", "-f", "sleep 98765", ok=False).stdout:
            assert running.poll() is None
        running.send_signal(signal.SIGKILL)
    end_s = time.monotonic() + GONE_S
    while on(bare_lab, "node1", "pgrep", "-f", "sleep 98765", ok=False).stdout:
        assert time.monotonic() < end_s


def test_what_the_products_need_works_in_a_node(bare_lab: str) -> None:
    """FUSE and tap devices, io_uring, a bridge, O_DIRECT on /data, and the sysctls of its own network."""
    script = """
set -e
ip link add br9 type bridge; ip tuntap add t9 mode tap; ip link set t9 master br9; ip link del t9; ip link del br9
test -c /dev/fuse
dd if=/dev/zero of=/data/direct bs=4096 count=4 oflag=direct conv=fsync 2>/dev/null
echo 1 > /proc/sys/net/ipv4/ip_forward
python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); b = ctypes.create_string_buffer(200); \
assert l.syscall(425, 8, b) > 0, ctypes.get_errno()'
"""
    assert on(bare_lab, "node1", "sh", "-c", script).status == 0


def test_a_node_can_touch_neither_the_clock_nor_the_modules_nor_the_sysctls_of_this_machine(bare_lab: str) -> None:
    """Looked up, never tried: it is the clock of the machine that the tests run on. Both ways into a node are bounded."""
    sys_module, sys_time = 1 << 16, 1 << 25
    for prefix in ([], ["systemd-run", "--quiet", "--pipe", "--wait"]):
        status = on(bare_lab, "node1", *prefix, "cat", "/proc/self/status").stdout
        sets = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert not int(sets[name], 16) & (sys_module | sys_time), (prefix, name)
    assert on(bare_lab, "node1", "test", "-w", "/proc/sys/kernel/sysrq", ok=False).status == 1


def test_a_pulled_cable_is_silent_and_stays_pulled_over_a_power_cycle(bare_lab: str) -> None:
    listen(bare_lab)
    assert reach(bare_lab, "node2", "node1") == "answered"
    trivet("lab", "link", "node1", "cut", "--name", bare_lab)
    assert nodes(bare_lab)["node1"]["link"] == "cut"
    assert reach(bare_lab, "node2", "node1") in ("silence", "[Errno 113] No route to host")
    assert "NO-CARRIER" in on(bare_lab, "node1", "ip", "link", "show", "eth0").stdout
    trivet("lab", "power", "node1", "reset", "--name", bare_lab)
    assert nodes(bare_lab)["node1"]["link"] == "cut"
    trivet("lab", "link", "node1", "heal", "--name", bare_lab)
    listen(bare_lab)
    assert reach(bare_lab, "node2", "node1") == "answered"


def test_one_direction_of_a_pair_can_be_cut(bare_lab: str) -> None:
    listen(bare_lab)
    cut = trivet("lab", "link", "node1", "cut", "--to", "node2", "--direction", "out", "--name", bare_lab, "--json")
    assert cut.json()["drops"] == [{"source": "node1", "target": "node2", "only": None}]
    assert reach(bare_lab, "node2", "node1") == "silence"
    assert reach(bare_lab, "node3", "node1") == reach(bare_lab, "node2", "node3") == "answered"
    trivet("lab", "link", "node1", "heal", "--name", bare_lab)
    assert reach(bare_lab, "node2", "node1") == "answered"


def test_storage_and_management_can_be_cut_apart(bare_lab: str) -> None:
    listen(bare_lab)
    trivet("lab", "link", "node1", "cut", "--only", "storage", "--name", bare_lab)
    assert "dropped: node1 → anybody (storage only)" in trivet("lab", "status", "--name", bare_lab).stdout
    assert (reach(bare_lab, "node2", "node1"), reach(bare_lab, "node2", "node1", AGENT_PORT)) == ("silence", "answered")
    trivet("lab", "link", "node1", "heal", "--only", "storage", "--name", bare_lab)
    trivet("lab", "link", "node1", "cut", "--only", "management", "--name", bare_lab)
    assert (reach(bare_lab, "node2", "node1"), reach(bare_lab, "node2", "node1", AGENT_PORT)) == ("answered", "silence")
    trivet("lab", "link", "node1", "heal", "--name", bare_lab)
    assert reach(bare_lab, "node2", "node1", AGENT_PORT) == "answered"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Programs that are begun now may be interrupted, also where a shell has started us in the background: there they would
    inherit that this signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_cut_ends_by_itself_also_when_its_command_is_told_to_stop(bare_lab: str) -> None:
    listen(bare_lab)
    began_s = time.monotonic()
    trivet("lab", "link", "node1", "cut", "--for", "2", "--name", bare_lab)
    assert time.monotonic() - began_s >= 2
    assert nodes(bare_lab)["node1"]["link"] == "up"
    command = [str(ROOT / "trivet"), "lab", "link", "node1", "cut", "--for", "600", "--name", bare_lab]
    with interruptible(), subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while nodes(bare_lab)["node1"]["link"] != "cut":
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
    assert nodes(bare_lab)["node1"]["link"] == "up"


def test_a_frozen_node_stands_still_answers_nobody_and_goes_on(bare_lab: str) -> None:
    listen(bare_lab)
    count = "i=0; while sleep 0.1; do i=$((i+1)); echo $i > /run/count; done"
    on(bare_lab, "node1", "systemd-run", "--quiet", "--collect", "--unit=count", "sh", "-c", count)
    frozen = trivet("lab", "power", "node1", "freeze", "--name", bare_lab, "--json").json()
    assert (frozen["power"], frozen["link"]) == ("frozen", "up")
    assert reach(bare_lab, "node2", "node1") in ("silence", "[Errno 113] No route to host")
    refused = trivet("lab", "exec", "--json", "--name", bare_lab, "node1", "--", "true", ok=False)
    assert (refused.status, refused.json()["error"]["code"]) == (2, "lab.node-frozen")
    assert trivet("lab", "logs", "node1", "--name", bare_lab, "--lines", "5").stdout
    time.sleep(3)
    trivet("lab", "power", "node1", "thaw", "--name", bare_lab)
    first = int(on(bare_lab, "node1", "cat", "/run/count").stdout)
    trivet("lab", "power", "node1", "freeze", "--for", "3", "--name", bare_lab)
    later = int(on(bare_lab, "node1", "cat", "/run/count").stdout)
    assert later - first < 25, "it counts ten a second, but not while it stands still"
    assert reach(bare_lab, "node2", "node1") == "answered"
    on(bare_lab, "node1", "systemctl", "stop", "count")
    trivet("lab", "power", "node1", "freeze", "--name", bare_lab)
    trivet("lab", "up", "--name", bare_lab)
    assert nodes(bare_lab)["node1"]["power"] == "on"


def test_a_power_cut_says_no_goodbye_and_keeps_the_disk(bare_lab: str) -> None:
    """A peer connected to the node hears nothing: no FIN, no RST; what was on the disk is there after power on."""
    listen(bare_lab)
    on(bare_lab, "node3", "sh", "-c", "echo kept > /root/kept; echo brick > /data/kept; sync")
    script = f"""
import socket
s = socket.create_connection(("node3", {GLUSTERD_PORT})); print("connected", flush=True); s.settimeout(3)
try: print("heard", s.recv(1))
except TimeoutError: print("silence")
except OSError as error: print("heard", error)
"""
    command = [str(ROOT / "trivet"), "lab", "exec", "--name", bare_lab, "node2", "--", "python3", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        assert peer.stdout.readline() == "connected\n"
        trivet("lab", "power", "node3", "off", "--name", bare_lab)
        assert peer.stdout.read() == "silence\n"
    off = nodes(bare_lab)["node3"]
    assert (off["power"], off["pid"]) == ("off", None)
    assert not Path(f"/run/netns/trivet-{bare_lab}-node3").exists()
    trivet("lab", "power", "node3", "on", "--name", bare_lab)
    assert on(bare_lab, "node3", "cat", "/root/kept", "/data/kept").stdout == "kept\nbrick\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("lab", "power", "node9", "off"), "lab.node-unknown"),
        (("lab", "exec", "--json", "node9", "--", "true"), "lab.node-unknown"),
        (("lab", "link", "node1", "cut", "--to", "node8"), "lab.node-unknown"),
        (("lab", "power", "node1", "sideways"), "command.usage"),
        (("lab", "up", "--nodes", "2"), "lab.other-size"),
        (("lab", "remove", "node2"), "lab.not-last"),
        (("lab", "link", "node1", "cut", "--only", "telephony"), "command.usage"),
        (("lab", "link", "node1", "cut", "--for", "0"), "lab.duration-invalid"),
        (("lab", "link", "node1", "heal", "--for", "3"), "command.usage"),
        (("lab", "power", "node1", "on", "--for", "3"), "command.usage"),
        (("lab", "power", "node9", "freeze"), "lab.node-unknown"),
    ],
)
def test_a_wrong_request_is_refused_and_changes_nothing(bare_lab: str, words: tuple[str, ...], code: str) -> None:
    before = nodes(bare_lab)
    json_word = () if "--json" in words else ("--json",)
    refused = trivet(*words[:2], "--name", bare_lab, *json_word, *words[2:], ok=False)
    assert refused.status == 2
    assert refused.json()["error"]["code"] == code
    assert nodes(bare_lab) == before


def test_a_node_that_is_off_is_refused_not_switched_off_again(bare_lab: str) -> None:
    trivet("lab", "power", "node2", "off", "--name", bare_lab)
    for words in (("power", "node2", "off"), ("power", "node2", "reset"), ("exec", "--json", "node2", "--", "true")):
        refused = trivet(
            "lab", words[0], "--name", bare_lab, *words[1:], *(() if "--json" in words else ("--json",)), ok=False
        )
        assert (refused.status, refused.json()["error"]["code"]) == (2, "lab.node-off")
    assert trivet("lab", "logs", "node2", "--name", bare_lab, "--lines", "5").stdout
    trivet("lab", "power", "node2", "on", "--name", bare_lab)


def test_a_lab_that_is_not_up_and_a_caller_who_is_not_root_are_refused() -> None:
    refused = trivet("lab", "status", "--name", "nosuchlab", "--json", ok=False)
    assert (refused.status, refused.json()["error"]["code"]) == (2, "lab.not-up")
    script = f"import os, sys; os.setuid(65534); os.execv({str(ROOT / 'trivet')!r}, ['trivet', 'lab', 'status', '--json'])"
    done = subprocess.run(["python3", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, "command.not-root" in done.stdout) == (2, True), done.stderr


def test_a_taken_port_is_refused_by_name_before_anything_is_made(killed_lab: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        refused = trivet("lab", "up", "--name", killed_lab, "--port", port, *TREE, "--json", ok=False)
    assert (refused.status, refused.json()["error"]["code"]) == (2, "lab.port-taken")
    assert str(os.getpid()) in refused.json()["error"]["reason"]
    assert leftovers(killed_lab) == []


def test_an_up_killed_at_any_moment_leaves_what_down_removes(killed_lab: str) -> None:
    for after_s in (0.15, 0.25, 0.35, 0.5, 1.0, 3.0):
        command = [str(ROOT / "trivet"), "lab", "up", "--name", killed_lab, "--nodes", "2", "--port", "0", *TREE]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(after_s)
            running.kill()
        trivet("lab", "down", "--name", killed_lab)
        assert leftovers(killed_lab) == [], f"killed after {after_s} s"
    assert trivet("lab", "down", "--name", killed_lab, "--json").json()["removed"] is False


def test_a_killed_up_is_finished_by_the_next_and_two_labs_do_not_meet(bare_lab: str, killed_lab: str) -> None:
    command = [str(ROOT / "trivet"), "lab", "up", "--name", killed_lab, "--nodes", "1", "--port", "0", *TREE]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(0.3)
        running.kill()
    trivet(*command[1:])
    addresses = {str(node["address"]) for lab in (bare_lab, killed_lab) for node in nodes(lab).values()}
    assert len(addresses) == 4
    trivet("lab", "down", "--name", killed_lab)
    assert leftovers(killed_lab) == []
    assert [node["power"] for node in nodes(bare_lab).values()] == ["on"] * 3


def test_the_forward_reaches_the_engines_address_and_ends_with_the_lab(killed_lab: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    trivet("lab", "up", "--name", killed_lab, "--nodes", "1", "--port", str(port), *TREE)
    status = trivet("lab", "status", "--name", killed_lab, "--json").json()
    on(killed_lab, "node1", "ip", "address", "add", f"{status['engine_address']}/24", "dev", "eth0")
    script = f"""
import socket
l = socket.create_server(("{status["engine_address"]}", 443))
while True:
    c, _ = l.accept(); c.sendall(c.recv(100)[::-1]); c.close()
"""
    on(killed_lab, "node1", "systemd-run", "--quiet", "--collect", "python3", "-c", script)
    for _ in range(2):
        trivet("lab", "forward", "--name", killed_lab)
    end_s = time.monotonic() + 10
    answer = b""
    while answer != b"olleh":
        assert time.monotonic() < end_s
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client, contextlib.suppress(ConnectionError):
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(100)
    trivet("lab", "down", "--name", killed_lab)
    assert leftovers(killed_lab) == []
    # a connection that was answered with a refusal lingers on the port for a minute (TIME_WAIT); nobody may listen there
    socket.create_server(("127.0.0.1", port)).close()


def test_a_node_is_added_to_a_lab_that_runs_and_taken_out_again(bare_lab: str) -> None:
    before = nodes(bare_lab)
    trivet("lab", "up", "--name", bare_lab, "--nodes", "4", timeout_s=300)
    more = nodes(bare_lab)
    assert more == {**before, "node4": more["node4"]} and more["node4"]["power"] == "on"
    assert reach(bare_lab, "node4", str(before["node1"]["address"]), AGENT_PORT) == "answered"
    trivet("lab", "remove", "node4", "--name", bare_lab)
    assert nodes(bare_lab) == before
    assert not Path(f"/run/netns/trivet-{bare_lab}-node4").exists()
