"""`trivet lab …`: rows of commands, and what each prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from appliance.codec import encode
from appliance.command import Command, Option, Output, require_root, table
from appliance.effects.clock import SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import EXIT_DONE, Failed, Refused
from image.lab import disturb, drill, forward, ground, model, observe, plan, preflight, shrink
from image.lab.operations import STEP_TIMEOUT_S, Lab, NodeStatus, Say

EXEC_JSON_TIMEOUT_S: Final = 600.0
"""Because with --json the whole output is held and given at the end. Without --json there is no deadline."""
FORWARD_START_DEADLINE_S: Final = 10.0
"""Because the forward starts in under a second on an idle machine."""
FORWARD_POLL_S: Final = 0.1
SIGNAL_EXIT_BASE: Final = 128
"""A command ended by signal N has status 128 + N, as a shell reports it."""

ENDED_BY: Final = {"cut": "heal", "off": "on", "freeze": "thaw"}
"""What ends a fault that ``--for`` lets last for a while."""

CHECKOUT: Final = Path(__file__).resolve().parents[2]


def _lab(arguments: argparse.Namespace) -> Lab:
    require_root()
    return Lab(arguments.name, SystemProcesses(), SystemClock())


def _say(output: Output) -> Say:
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    return lambda percent, text: output.progress(percent, clock.monotonic_s() - begun_s, text)


def _built_tree(output: Output) -> Path:
    from image.build import node_tree  # only `up` needs the builder

    return node_tree(output)


def _show(lab: Lab, output: Output) -> None:
    statuses = lab.status()
    wanted = lab.wanted()
    pids = lab.forward_pids()
    data = {
        "name": lab.name,
        "nodes": [encode(status) for status in statuses],
        "drops": encode(wanted.drops),
        "engine_address": model.engine_address(wanted.index),
        "switch_namespace": model.switch_namespace(wanted.name),
        "forward": {"port": wanted.forward_port, "running": bool(pids)},
    }
    rows = [_row(status) for status in statuses]
    lines = [table(("node", "power", "address", "link", "pid"), rows)]
    lines += [_dropped(drop) for drop in wanted.drops]
    if pids:
        lines.append(f"forward: https://127.0.0.1:{wanted.forward_port} → {model.engine_address(wanted.index)}")
    output.result(data, "\n".join(lines))


def _dropped(drop: model.Drop) -> str:
    only = f" ({drop.only} only)" if drop.only else ""
    return f"dropped: {drop.source or 'anybody'} → {drop.target or 'anybody'}{only}"


def _row(status: NodeStatus) -> tuple[object, ...]:
    return (status.name, status.power, status.address, status.link, status.pid or "-")


def up(arguments: argparse.Namespace, output: Output) -> None:
    """Make the lab."""
    lab = _lab(arguments)
    tree = Path(arguments.tree).resolve() if arguments.tree else None
    keys = tuple(Path(file).read_text().strip() for file in arguments.ssh_key)
    lab.up(
        nodes=None if arguments.nodes is None else model.check_nodes(arguments.nodes),
        tree=lambda: tree or _built_tree(output),
        port=arguments.port,
        ssh_keys=keys,
        say=_say(output),
    )
    _show(lab, output)


def down(arguments: argparse.Namespace, output: Output) -> None:
    """Remove the lab."""
    lab = _lab(arguments)
    was = lab.down(_say(output))
    output.result({"name": lab.name, "removed": was}, f"lab {lab.name}: {'removed' if was else 'was not there'}")


def remove(arguments: argparse.Namespace, output: Output) -> None:
    """Take the last node out."""
    lab = _lab(arguments)
    left = shrink.remove(lab, arguments.node)
    output.result({"name": lab.name, "nodes": left.nodes}, f"lab {lab.name}: {left.nodes} nodes are left")


def status(arguments: argparse.Namespace, output: Output) -> None:
    """Show the nodes."""
    _show(_lab(arguments), output)


def execute(arguments: argparse.Namespace, output: Output) -> int:
    """Run a command in a node and end as it ended."""
    lab = _lab(arguments)
    argv = _words(arguments.command_line)
    if not argv:
        raise Refused(
            "command.usage",
            subject="trivet lab exec",
            reason="no command is given",
            remedy="`trivet lab exec node1 -- gluster peer status` is an example.",
        )
    if not arguments.json:
        node, pid = lab.running(arguments.node)
        SystemProcesses().become(lab.enter(node, pid, argv))
    stdin = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    done = lab.exec(arguments.node, argv, timeout_s=EXEC_JSON_TIMEOUT_S, stdin=stdin)
    result = {"node": arguments.node, "argv": argv, "status": done.status, "stdout": done.stdout, "stderr": done.stderr}
    output.result(result, done.stdout)
    return _exit(done.status)


def _words(line: Sequence[str]) -> list[str]:
    return list(line[1:] if line and line[0] == "--" else line)


def _exit(code: int) -> int:
    return code if code >= 0 else SIGNAL_EXIT_BASE - code


def shell(arguments: argparse.Namespace, _output: Output) -> None:
    """A root shell in a node. `script` gives it a terminal of the node's own."""
    lab = _lab(arguments)
    node, pid = lab.running(arguments.node)
    terminal = f"TERM={os.environ.get('TERM', 'dumb')}"
    argv = ["script", "--quiet", "--return", "--command", "bash -l", "/dev/null"]
    SystemProcesses().become(lab.enter(node, pid, argv, (terminal,)))


def logs(arguments: argparse.Namespace, output: Output) -> int:
    """A node's journal; of a node that is off or frozen, the journal on its disk."""
    lab = _lab(arguments)
    node = lab.node(arguments.node)
    pid = None if node.name in lab.wanted().frozen else observe.leader(node)
    if pid is not None:
        argv = lab.enter(node, pid, plan.journal(arguments.unit, follow=arguments.follow, lines=arguments.lines))
    elif arguments.follow:
        raise model.node_is_frozen(node) if node.name in lab.wanted().frozen else model.node_is_off(node)
    else:
        folder = node.folder / "upper/var/log/journal"
        argv = plan.journal(arguments.unit, follow=False, lines=arguments.lines, folder=folder)
    if not arguments.json:
        SystemProcesses().become(argv)
    done = SystemProcesses().run(argv, timeout_s=STEP_TIMEOUT_S)
    output.result({"node": node.name, "unit": arguments.unit, "lines": done.stdout.splitlines()}, done.stdout)
    return EXIT_DONE


def power(arguments: argparse.Namespace, output: Output) -> None:
    """Switch a node on, cut its power, or both; or let it stand still and go on."""
    lab = _lab(arguments)
    _check_for(arguments)
    now: list[NodeStatus] = []

    def switch(wanted: str) -> None:
        now[:] = [_power(lab, arguments.node, wanted, output)]

    begin, end = partial(switch, arguments.wanted), partial(switch, ENDED_BY.get(arguments.wanted, ""))
    disturb.last(SystemClock(), arguments.duration_s, begin, end)
    output.result(encode(now[0]), table(("node", "power", "address", "link", "pid"), [_row(now[0])]))


def _power(lab: Lab, node: str, wanted: str, output: Output) -> NodeStatus:
    if wanted == "freeze":
        return disturb.freeze(lab, node)
    if wanted == "thaw":
        return disturb.thaw(lab, node)
    return lab.power(node, wanted, _say(output))


def link(arguments: argparse.Namespace, output: Output) -> None:
    """Pull or plug a cable."""
    lab = _lab(arguments)
    _check_for(arguments)

    def set_to(wanted: str) -> None:
        disturb.link(lab, arguments.node, wanted, arguments.to, arguments.direction, arguments.only)

    disturb.last(SystemClock(), arguments.duration_s, partial(set_to, arguments.wanted), partial(set_to, "heal"))
    _show(lab, output)


def _check_for(arguments: argparse.Namespace) -> None:
    """``--for`` goes with faults that something ends. Before anything is changed."""
    if arguments.duration_s is None:
        return
    model.check_duration(arguments.duration_s)
    if arguments.wanted not in ENDED_BY:
        raise Refused(
            "command.usage",
            subject=f"--for {arguments.duration_s:g}",
            reason=f"“{arguments.wanted}” does not last, so it cannot end; {', '.join(sorted(ENDED_BY))} do",
            remedy="Leave --for out.",
        )


def forwarding(arguments: argparse.Namespace, output: Output) -> None:
    """Start, stop or be the forward."""
    lab = _lab(arguments)
    wanted = lab.wanted()
    port, address = wanted.forward_port, model.engine_address(wanted.index)
    if arguments.serve:
        forward.serve(port, model.switch_namespace(lab.name), address)
        return
    cgroup = observe.lab_cgroup(lab.name) / observe.FORWARD
    with lab.locked():
        if arguments.stop:
            ground.kill_all(cgroup, SystemClock())
        elif not lab.forward_pids():
            _start_forward(lab, cgroup, port)
    running = not arguments.stop
    data = {"url": f"https://127.0.0.1:{port}", "engine_address": address, "running": running}
    output.result(data, f"https://127.0.0.1:{port} → {address}:443" if running else "the forward is stopped")


def _start_forward(lab: Lab, cgroup: Path, port: int) -> None:
    user = preflight.port_user(SystemProcesses(), port)
    if user is not None:
        raise preflight.refuse((preflight.port_problem(port, user),))
    ground.make_cgroup(cgroup, observe.cgroup_mount())
    lab.run_folder.mkdir(parents=True, exist_ok=True)
    log = lab.run_folder / "forward.log"
    argv = [str(CHECKOUT / "trivet"), "lab", "forward", "--serve", "--name", lab.name]
    SystemProcesses().run(plan.detached(argv, log=log, cgroup=cgroup), timeout_s=STEP_TIMEOUT_S)
    clock = SystemClock()
    deadline = clock.monotonic_s() + FORWARD_START_DEADLINE_S
    while preflight.port_user(SystemProcesses(), port) is None:
        if clock.monotonic_s() > deadline:
            raise Failed(
                "lab.forward-dead",
                subject=f"the forward of lab {lab.name}",
                reason=f"it does not listen on 127.0.0.1:{port} after {FORWARD_START_DEADLINE_S:g} s",
                remedy=f"{log} says why.",
            )
        clock.sleep(FORWARD_POLL_S)


_NAME = Option(("--name",), "which lab (default: %(default)s)", {"default": model.DEFAULT_LAB, "metavar": "LAB"})
_NODE = Option(("node",), "node1, node2 …", {"metavar": "NODE"})
_FOR = Option(
    ("--for",),
    "end it by itself after so many seconds; the command waits for that",
    {"dest": "duration_s", "type": float, "default": None, "metavar": "SECONDS"},
)

COMMANDS: Final = (
    Command(
        ("lab", "up"),
        "start nodes from the node image on this machine, and return when their systems are up",
        "trivet lab up --nodes 3",
        up,
        (
            Option(
                ("--nodes",),
                f"how many; more than there are are added (default: as many as there are, else {model.DEFAULT_NODES})",
                {"type": int, "default": None},
            ),
            _NAME,
            Option(
                ("--port",),
                f"of `trivet lab forward` (default: {model.default_port()}; 0: none)",
                {"type": int, "default": None},
            ),
            Option(
                ("--tree",), "another extracted node tree than the built image's", {"default": None, "metavar": "FOLDER"}
            ),
            Option(
                ("--ssh-key",),
                "public key file for root of the nodes; may be repeated",
                {"action": "append", "default": [], "metavar": "FILE"},
            ),
        ),
    ),
    Command(("lab", "down"), "remove the lab with all that belongs to it", "trivet lab down", down, (_NAME,)),
    Command(
        ("lab", "remove"),
        "take the last node out of the lab, with its disks",
        "trivet lab remove node4",
        remove,
        (_NAME, _NODE),
    ),
    Command(("lab", "status"), "show the nodes: power, address, link", "trivet lab status --json", status, (_NAME,)),
    Command(
        ("lab", "exec"),
        "run a command in a node; exit code, input and output are the command's",
        "trivet lab exec node1 -- gluster peer status",
        execute,
        (_NAME, _NODE, Option(("command_line",), "the command", {"nargs": argparse.REMAINDER, "metavar": "-- CMD …"})),
    ),
    Command(("lab", "shell"), "a root shell in a node", "trivet lab shell node1", shell, (_NAME, _NODE)),
    Command(
        ("lab", "logs"),
        "a node's journal",
        "trivet lab logs node1 trivet-ha --follow",
        logs,
        (
            _NAME,
            _NODE,
            Option(("unit",), "only this unit", {"nargs": "?", "default": None, "metavar": "UNIT"}),
            Option(("--follow",), "go on as lines are written", {"action": "store_true"}),
            Option(("--lines",), "how many of the last lines (default: %(default)s)", {"type": int, "default": 200}),
        ),
    ),
    Command(
        ("lab", "power"),
        "switch a node on, or cut its power: nothing is flushed, nobody is told; or let it stand still for a while",
        "trivet lab power node2 freeze --for 60",
        power,
        (
            _NAME,
            _NODE,
            Option(
                ("wanted",),
                "on, off (a power cut), reset, freeze (it stands still and answers nobody) or thaw",
                {"choices": ("on", "off", "reset", "freeze", "thaw")},
            ),
            _FOR,
        ),
    ),
    Command(
        ("lab", "link"),
        "pull or plug a node's cable, or drop frames of one direction, pair or traffic",
        "trivet lab link node1 cut --to node2 --direction out",
        link,
        (
            _NAME,
            _NODE,
            Option(("wanted",), "cut or heal; heal alone heals all that touches NODE", {"choices": ("cut", "heal")}),
            Option(("--to",), "only between NODE and this node", {"default": None, "metavar": "NODE"}),
            Option(
                ("--direction",),
                "as NODE sees it: in, out or both (default)",
                {"choices": ("in", "out", "both"), "default": "both"},
            ),
            Option(
                ("--only",),
                "only Gluster's connections (storage), or all but those (management)",
                {"choices": ("storage", "management"), "default": None},
            ),
            _FOR,
        ),
    ),
    Command(
        ("lab", "forward"),
        "the engine's HTTPS on 127.0.0.1 of this machine, wherever the engine runs",
        "trivet lab forward",
        forwarding,
        (
            _NAME,
            Option(("--stop",), "end it", {"action": "store_true"}),
            Option(("--serve",), "be the forward, in the foreground", {"action": "store_true"}),
        ),
    ),
    drill.COMMAND,
)
