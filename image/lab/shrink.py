"""Take a node out of a lab: the opposite of `trivet lab up` with more nodes than there are."""

from __future__ import annotations

from appliance.errors import Conflict
from image.lab import ground, model
from image.lab.model import LabFile
from image.lab.operations import Lab


def remove(lab: Lab, name: str) -> LabFile:
    """Take the last node out, with its disks; the others keep their numbers. Raises ``Conflict`` (``lab.not-last``)."""
    with lab.locked():
        wanted = lab.wanted()
        node = model.find_node(wanted, name)
        if node.number != wanted.nodes or wanted.nodes == 1:
            raise Conflict(
                "lab.not-last",
                subject=f"node {name}",
                reason=f"node{wanted.nodes} is the last of {wanted.nodes}: one after the other goes, and one stays",
                remedy=f"Remove node{wanted.nodes} first, or take the whole lab down.",
            )
        lab.cut_power(node)
        left = model.without(wanted, name)
        lab.keep(left)
        lab.set_links(left)
        ground.remove_folder(node.folder)
    return left
