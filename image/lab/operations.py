"""What can be done with a lab: up, down, power, exec. Each brings the world to the wanted state from any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from appliance.codec import decode, encode
from appliance.effects.clock import Clock
from appliance.effects.process import Completed
from appliance.errors import Conflict, Failed, Unavailable
from appliance.ports import Processes
from image.lab import ground, model, observe, plan, preflight
from image.lab.model import LabFile, LabNode
from image.lab.seed import seed

STEP_TIMEOUT_S: Final = 30.0
"""Because ip, nft, mount and setsid need milliseconds; thirty seconds only pass on a machine in trouble."""
BOOT_DEADLINE_S: Final = 180.0
"""Because three nodes boot in 15 s on two idle cores; a busy test machine was seen to need several times that."""
BOOT_POLL_S: Final = 0.5
"""Because each look at a booting node costs it a process."""
LOOK_TIMEOUT_S: Final = 20.0
"""Because `systemctl is-system-running` answers at once when the system manager is there at all."""
CONSOLE_TAIL_LINES: Final = 12
INDEX_LOCK: Final = model.RUN_ROOT / "lock"
"""Held while a new lab chooses its network."""

Say = Callable[[float, str], None]
"""Told how far a long operation has come: percent and a sentence."""


@dataclass(frozen=True)
class NodeStatus:
    """A node as it is now. ``pid`` is its init as this machine sees it, ``None`` when off; ``link`` is "up" or "cut"."""

    name: str
    power: model.Power
    address: str
    link: str
    pid: int | None


class Lab:
    """One lab by name. Raises the errors of :mod:`image.lab.model`; tools' errors pass through."""

    def __init__(self, name: str, processes: Processes, clock: Clock) -> None:
        self.name = model.check_name(name)
        self._processes = processes
        self._clock = clock

    # --- what is ---

    @property
    def file(self) -> Path:
        """Where the wanted state is kept."""
        return model.STATE_ROOT / self.name / "lab.json"

    @property
    def run_folder(self) -> Path:
        """Lock and log of the lab's helpers."""
        return model.RUN_ROOT / self.name

    def wanted(self) -> LabFile:
        """The lab's wanted state; ``Conflict`` (``lab.not-up``) when there is none."""
        try:
            text = self.file.read_text()
        except FileNotFoundError:
            raise model.not_up(self.name) from None
        return read_lab(text, str(self.file))

    def status(self) -> tuple[NodeStatus, ...]:
        """Every node as it is."""
        lab = self.wanted()
        return tuple(self.node_status(lab, node) for node in model.nodes_of(lab))

    @staticmethod
    def node_status(lab: LabFile, node: LabNode) -> NodeStatus:
        """One node as it is."""
        pid = observe.leader(node)
        power: model.Power = "off" if pid is None else "frozen" if node.name in lab.frozen else "on"
        return NodeStatus(node.name, power, node.address, "cut" if node.name in lab.cut else "up", pid)

    def node(self, name: str) -> LabNode:
        """The node called ``name``, on or off."""
        return model.find_node(self.wanted(), name)

    def running(self, name: str) -> tuple[LabNode, int]:
        """The node called ``name`` and its init's process id; ``Conflict`` (``lab.node-off``, ``lab.node-frozen``) when
        nothing can run in it."""
        node = self.node(name)
        pid = observe.leader(node)
        if pid is None:
            raise model.node_is_off(node)
        if node.name in self.wanted().frozen:
            raise model.node_is_frozen(node)
        return node, pid

    # --- up ---

    def up(
        self,
        *,
        nodes: int | None,
        tree: Callable[[], Path],
        port: int | None,
        ssh_keys: Sequence[str],
        say: Say,
    ) -> LabFile:
        """Make the lab, or bring one that is partly there to: every node on, every link healed. More nodes than it has:
        the new ones are added, bare, while the others go on.

        ``tree`` finds or builds the node image's tree, after all other checks; an existing lab keeps the one it was made
        from. Refusals change nothing.
        """
        known = self._known()
        nodes = nodes or (known.nodes if known else model.DEFAULT_NODES)
        if known and known.nodes > nodes:
            raise Conflict(
                "lab.other-size",
                subject=f"lab {self.name}",
                reason=f"it has {known.nodes} nodes, not {nodes}",
                remedy=f"`trivet lab remove node{known.nodes} --name {self.name}` takes out the last one.",
            )
        port = port if port is not None else known.forward_port if known else model.default_port()
        problems = self.preflight(nodes, port, known.nodes if known else 0)
        if problems:
            raise preflight.refuse(problems)
        chosen = known.tree if known else tree()
        preflight.check_tree(chosen)
        with self.locked():
            lab = self._settle(nodes, chosen, port)
            self._switch(lab)
            for number, node in enumerate(model.nodes_of(lab)):
                say(10 + 20 * number / lab.nodes, f"{node.name}: {'is on' if observe.leader(node) else 'starting'}")
                self._power_on(lab, node, ssh_keys)
        self._wait_booted(model.nodes_of(lab), lambda percent, text: say(30 + 0.7 * percent, text))
        return lab

    def preflight(self, nodes: int, port: int, known: int = 0) -> tuple[preflight.Problem, ...]:
        """What keeps the lab from running here. ``known``: so many nodes of it are there."""
        facts = preflight.gather(self._processes, port=port, port_is_ours=bool(self.forward_pids()))
        already_on = bool(observe.namespaces(self.name))
        # What a lab that is already up uses must not be asked for a second time.
        return tuple(
            problem
            for problem in preflight.judge(facts, nodes - known if already_on and nodes > known else nodes)
            if not (already_on and nodes <= known and problem.code in ("lab.memory-too-small", "lab.disk-too-small"))
        )

    def _known(self) -> LabFile | None:
        try:
            return self.wanted()
        except Conflict:
            return None

    def _settle(self, nodes: int, tree: Path, port: int) -> LabFile:
        """Write down what is wanted before anything is made."""
        with ground.locked(INDEX_LOCK):
            known = self._known()
            index = known.index if known else model.free_index(self.name, self._taken())
            lab = LabFile(self.name, index, nodes, tree, port)
            self.keep(lab)
        return lab

    def _taken(self) -> frozenset[int]:
        others = [model.STATE_ROOT / name / "lab.json" for name in observe.known_labs() if name != self.name]
        return frozenset(read_lab(file.read_text(), str(file)).index for file in others if file.exists())

    def keep(self, lab: LabFile) -> None:
        """Write down what is wanted."""
        ground.replace_file(self.file, json.dumps(encode(lab), indent=2) + "\n")

    def _switch(self, lab: LabFile) -> None:
        namespace = model.switch_namespace(lab.name)
        if namespace in observe.namespaces(lab.name) and not self._has_link(namespace, model.BRIDGE, "up"):
            self._run(plan.unplug(namespace))  # its maker was killed half-way
        if namespace not in observe.namespaces(lab.name):
            for argv in plan.switch_up(lab):
                self._run(argv)
        self.set_links(lab)

    def _has_link(self, namespace: str, link: str, *state: str) -> bool:
        done = self._processes.run(["ip", "-n", namespace, "link", "show", *state, link], timeout_s=STEP_TIMEOUT_S, ok=None)
        return done.status == 0 and bool(done.stdout.strip())

    # --- power ---

    def power(self, name: str, wanted: str, say: Say) -> NodeStatus:
        """``on``, ``off`` (a power cut), ``reset``; the last two on a node that is off: ``Conflict`` (``lab.node-off``)."""
        with self.locked():
            lab = self.wanted()
            node = model.find_node(lab, name)
            if wanted in ("off", "reset"):
                if not observe.is_on(node):
                    raise model.node_is_off(node)
                self.cut_power(node)
                lab = model.thaw(lab, name)
                self.keep(lab)
                self.set_links(lab)
                say(20, f"{node.name}: power is cut")
            if wanted in ("on", "reset"):
                self._power_on(lab, node, ())
        if wanted in ("on", "reset"):
            self._wait_booted((node,), say)
        return self.node_status(lab, node)

    def _power_on(self, lab: LabFile, node: LabNode, ssh_keys: Sequence[str]) -> None:
        if observe.leader(node):
            if node.name not in lab.frozen:
                ground.set_frozen(observe.node_cgroup(node), False)
            return
        self.cut_power(node)  # what a killed lab or a node that switched itself off left behind
        for argv in plan.plug(node):
            self._run(argv)
        self._mount(lab, node, ssh_keys)
        if node.name not in lab.cut:
            self._run(plan.port(node, up=True))
        root = observe.cgroup_mount()
        cgroup = observe.node_cgroup(node)
        ground.make_cgroup(cgroup, root)
        (cgroup / observe.EXEC).mkdir(exist_ok=True)
        self._processes.run(
            plan.detached(plan.boot(node), log=node.console, cgroup=cgroup),
            timeout_s=STEP_TIMEOUT_S,
            env=plan.NSPAWN_ENVIRONMENT,
        )

    def _mount(self, lab: LabFile, node: LabNode, ssh_keys: Sequence[str]) -> None:
        for folder in (node.folder / "upper", node.folder / "work", node.root, node.data):
            folder.mkdir(parents=True, exist_ok=True)
        self._run(plan.mount_root(node, lab.tree))
        seeded = node.folder / "seeded"
        if not seeded.exists():
            ground.write_seed(node.root, seed(node, model.nodes_of(lab), ssh_keys))
            seeded.touch()

    def cut_power(self, node: LabNode) -> None:
        """Cable first, so that the kernel's goodbyes on the node's connections go nowhere; then all processes at once."""
        if node.namespace in observe.namespaces(node.lab):
            self._processes.run(plan.port(node, up=False), timeout_s=STEP_TIMEOUT_S, ok=None)
        ground.kill_all(observe.node_cgroup(node), self._clock)
        self._clear_mounts(node.folder, node.root)
        if model.switch_namespace(node.lab) in observe.namespaces(node.lab):
            self._processes.run(plan.remove_cable(node), timeout_s=STEP_TIMEOUT_S, ok=None)
        if node.namespace in observe.namespaces(node.lab):
            self._run(plan.unplug(node.namespace))
        for cgroup in self._node_cgroups(node):
            ground.remove_cgroup(cgroup)

    def _node_cgroups(self, node: LabNode) -> list[Path]:
        return [folder / node.name for folder in observe.observe(node.lab).cgroups if (folder / node.name).is_dir()]

    def _clear_mounts(self, folder: Path, root: Path | None = None) -> None:
        for target in observe.mounts_below(observe.read_mounts(), folder):
            if target == root or target.name == "root":
                ground.forget_nspawn_lock(target)
            if self._processes.run(plan.unmount(target), timeout_s=STEP_TIMEOUT_S, ok=None).status:
                self._run(plan.unmount(target, lazy=True))

    def _wait_booted(self, nodes: Sequence[LabNode], say: Say) -> None:
        deadline = self._clock.monotonic_s() + BOOT_DEADLINE_S
        waiting = {node.name: node for node in nodes}
        say(0, "waiting for the nodes' systems")
        while waiting:
            for node in tuple(waiting.values()):
                state = self.system_state(node)
                if state in ("running", "degraded"):
                    del waiting[node.name]
                    say(100 * (1 - len(waiting) / len(nodes)), f"{node.name}: system is {state}")
                elif not observe.is_on(node):
                    raise self._died(node)
                elif self._clock.monotonic_s() > deadline:
                    raise Unavailable(
                        "lab.boot-deadline",
                        subject=f"node {node.name}",
                        reason=f"its system is still {state} after {BOOT_DEADLINE_S:g} s",
                        remedy=f"`trivet lab logs {node.name} --name {node.lab}`; {node.console} is its console.",
                    )
            if waiting:
                self._clock.sleep(BOOT_POLL_S)

    def system_state(self, node: LabNode) -> str:
        """systemd's word for the node's system; "off" without an init."""
        pid = observe.leader(node)
        if pid is None:
            return "off"
        argv = self.enter(node, pid, ["systemctl", "is-system-running"])
        return self._processes.run(argv, timeout_s=LOOK_TIMEOUT_S, ok=None).stdout.strip() or "starting"

    @staticmethod
    def _died(node: LabNode) -> Failed:
        said = node.console.read_text(errors="replace").splitlines()[-CONSOLE_TAIL_LINES:] if node.console.exists() else []
        return Failed(
            "lab.node-died",
            subject=f"node {node.name}",
            reason="it went off while it booted; its console said: " + " / ".join(said),
            remedy=f"{node.console} has all of it.",
        )

    # --- link ---

    def set_links(self, lab: LabFile) -> None:
        """Make the switch do what the file says."""
        namespace = model.switch_namespace(lab.name)
        if namespace not in observe.namespaces(lab.name):
            return
        self._processes.run(plan.apply_rules(lab), timeout_s=STEP_TIMEOUT_S, stdin=plan.drop_rules(lab))
        for node in model.nodes_of(lab):
            # The namespace alone is not enough: a killed `up` may have got no further than it.
            if node.namespace in observe.namespaces(lab.name) and self._has_link(namespace, node.name):
                self._run(plan.port(node, up=node.name not in lab.cut))

    # --- commands in a node ---

    def enter(self, node: LabNode, pid: int, argv: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
        """The argv that runs ``argv`` inside the node."""
        return plan.enter(pid, observe.node_cgroup(node) / observe.EXEC, argv, extra=extra)

    def exec(self, name: str, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        """Run ``argv`` in the node to its end and return output and status, whatever the status."""
        node, pid = self.running(name)
        done = self._processes.run(self.enter(node, pid, argv), timeout_s=timeout_s, stdin=stdin, ok=None)
        return replace(done, argv=tuple(argv))

    # --- forward and down ---

    def forward_pids(self) -> tuple[int, ...]:
        """The processes of the lab's forward."""
        return observe.pids_in(observe.lab_cgroup(self.name) / observe.FORWARD)

    def down(self, say: Say) -> bool:
        """Remove everything of the lab, from whatever state. Returns whether there was anything.

        Killed, refused or run twice, it can be run again.
        """
        if observe.observe(self.name).nothing:
            return False
        with self.locked():
            ground.kill_all(observe.lab_cgroup(self.name), self._clock)
            say(40, "no process is left")
            self._clear_mounts(model.STATE_ROOT / self.name)
            for namespace in observe.namespaces(self.name):
                self._run(plan.unplug(namespace))
            say(60, "mounts and networks are gone")
            left = observe.observe(self.name)
            if left.mounts:
                raise Failed(
                    "lab.mount-busy",
                    subject=f"lab {self.name}",
                    reason=f"still mounted: {', '.join(map(str, left.mounts))}",
                    remedy="Unmount these; no file was removed. Then run the same command again.",
                )
            for cgroup in left.cgroups:
                ground.remove_cgroup(cgroup)
            for folder in left.folders:
                ground.remove_folder(folder)
            self.lock_file.unlink(missing_ok=True)
        with ground.locked(INDEX_LOCK):
            if [entry.name for entry in model.RUN_ROOT.iterdir()] == [INDEX_LOCK.name]:
                ground.remove_folder(model.RUN_ROOT)
        say(100, "nothing is left")
        return True

    @property
    def lock_file(self) -> Path:
        """Beside the run folder, so that it can be held while that is removed."""
        return model.RUN_ROOT / f"{self.name}.lock"

    def locked(self) -> AbstractContextManager[None]:
        """One change of the lab at a time."""
        return ground.locked(self.lock_file)

    def _run(self, argv: Sequence[str]) -> None:
        self._processes.run(argv, timeout_s=STEP_TIMEOUT_S)


def read_lab(text: str, subject: str) -> LabFile:
    """A ``lab.json``; ``Refused`` (``lab.file-invalid``) if it is none."""
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    return decode(LabFile, data, subject=subject, code="lab.file-invalid")
