"""Do all nodes run the same versions?"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.version import VERSION
from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View

COMPARED = (("gluster_version", "Gluster"), ("libvirt_version", "libvirt"), ("qemu_version", "QEMU"))


def versions(answers: Answers, view: View) -> Iterator[Problem]:
    """Trivet's version equals the installer's; Gluster's, libvirt's and QEMU's are there and equal the first node's."""
    known = [(node.name, node.facts) for node in view.nodes if node.facts]
    for name, facts in known:
        if facts.version != VERSION:
            yield _differs(name, "Trivet", facts.version, VERSION, "the installing program")
        for attribute, what in COMPARED:
            found, needed = getattr(facts, attribute), getattr(known[0][1], attribute)
            if not found:
                yield Problem("preflight.version", name, f"{what} is not installed", f"{what}", "Boot the node image there.")
            elif needed and found != needed:
                yield _differs(name, what, found, needed, known[0][0])


def _differs(node: str, what: str, found: str, needed: str, reference: str) -> Problem:
    remedy = "Boot the same node image on all nodes."
    return Problem("preflight.version", node, f"{what} {found}", f"{what} {needed}, as {reference} has", remedy)
