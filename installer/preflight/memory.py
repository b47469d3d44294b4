"""Has every node the memory for the engine VM?"""

from __future__ import annotations

from collections.abc import Iterator

from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View

NODE_RESERVE_MIB = 1024  # because glusterd, two bricks, two mounts, libvirt and Trivet's own programs need it beside the VM
MIB = 1024 * 1024


def memory(answers: Answers, view: View) -> Iterator[Problem]:
    """Each node must be able to take the engine VM, or it could not take over."""
    needed_mib = answers.engine.memory_mib + NODE_RESERVE_MIB
    for node in view.nodes:
        if node.facts and node.facts.memory_bytes < needed_mib * MIB:
            yield Problem(
                "preflight.memory",
                node.name,
                f"{node.facts.memory_bytes // MIB} MiB of memory",
                f"{needed_mib} MiB ({answers.engine.memory_mib} for the engine VM, {NODE_RESERVE_MIB} for the node)",
                "Add memory, or give the engine less (engine.memory_mib).",
            )
