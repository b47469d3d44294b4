"""Texts of Gluster as typed data: the XML of its command line, and ``df``. Pure; fed by recordings in tests/data/gluster.

glustercli's own parsers are not used for reading: they answer untyped dictionaries, replace an offline brick by zeros,
and have none for ``heal info summary``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree  # its input is glusterd's, on a local socket

from appliance.errors import Failed
from gluster.model import Brick, BrickHeal, BrickPlace, BrickState, Capacity, Peer, Volume

LOCAL_NAME = "localhost"
"""What ``pool list`` calls the node that answers."""

GLUSTER_MOUNT = "fuse.glusterfs"


def peers(xml: str) -> tuple[Peer, ...]:
    """``peer status`` or ``pool list``: the other nodes (the answering one is left out), sorted by name."""
    return tuple(
        sorted(
            (
                Peer(
                    uuid=_text(node, "uuid"),
                    name=_text(node, "hostname"),
                    names=tuple(one.text or "" for one in node.findall("hostnames/hostname")) or (_text(node, "hostname"),),
                    connected=_text(node, "connected") == "1",
                    state=node.findtext("stateStr") or "",
                )
                for node in _root(xml).iterfind("peerStatus/peer")
                if _text(node, "hostname") != LOCAL_NAME
            ),
            key=lambda peer: peer.name,
        )
    )


def volumes(xml: str) -> tuple[Volume, ...]:
    """``volume info``: what is configured. Bricks come without state."""
    return tuple(
        Volume(
            id=_text(node, "id"),
            name=_text(node, "name"),
            kind=_text(node, "typeStr"),
            status=_text(node, "statusStr"),
            replica=_number(node, "replicaCount"),
            bricks=tuple(
                Brick(place.host, place.path)
                for place in (_place(_text(brick, "name")) for brick in node.iterfind("bricks/brick"))
            ),
            options={_text(one, "name"): one.findtext("value") or "" for one in node.iterfind("options/option")},
        )
        for node in _root(xml).iterfind("volInfo/volumes/volume")
    )


def brick_states(xml: str) -> dict[str, tuple[BrickState, ...]]:
    """``volume status all detail``: volume → the bricks of which something is known.

    Bricks of an unreachable peer are missing here, and so are volumes that are not started.
    """
    return {_text(volume, "volName"): tuple(_states(volume)) for volume in _root(xml).iterfind("volStatus/volumes/volume")}


def _states(volume: ElementTree.Element) -> Iterator[BrickState]:
    for node in volume.iterfind("node"):
        path = _text(node, "path")
        if not path.startswith("/"):  # self-heal daemons have a host here
            continue
        online = _text(node, "status") == "1"
        yield BrickState(
            place=BrickPlace(_text(node, "hostname"), path),
            online=online,
            pid=max(0, _count(node.findtext("pid")) or 0) if online else 0,
            port=_count(node.findtext("port")) or 0,
            size_bytes=_count(node.findtext("sizeTotal")) or 0,
            free_bytes=_count(node.findtext("sizeFree")) or 0,
            file_system=node.findtext("fsName") or "",
        )


def heal_summary(xml: str) -> tuple[BrickHeal, ...]:
    """``heal VOLUME info summary``. A brick that could not be asked has no numbers.

    (11.1 then writes its tag names into the status text: ``Failed to process … connected)totalNumberOfEntries0``.)
    """
    return tuple(
        BrickHeal(
            place=_place(_text(brick, "name")),
            connected=brick.findtext("status") == "Connected",
            pending=_count(brick.findtext("numberOfEntriesInHealPending")),
            split_brain=_count(brick.findtext("numberOfEntriesInSplitBrain")),
            healing=_count(brick.findtext("numberOfEntriesPossiblyHealing")),
        )
        for brick in _root(xml).iterfind("healInfo/bricks/brick")
    )


def split_brain_files(xml: str) -> tuple[str, ...]:
    """``heal VOLUME info split-brain``: the files, each once. Those without a known path are ``<gfid:…>``."""
    found = {(file.text or "").strip() for file in _root(xml).iterfind("healInfo/bricks/brick/file")}
    return tuple(sorted(found - {""}))


def capacity(df: str) -> Capacity | None:
    """``df -B1 --output=fstype,size,used,avail PATH``; ``None`` when no Gluster volume is mounted there."""
    found = re.fullmatch(r"(\S+)\s+(\d+)\s+(\d+)\s+(\d+)", (df.strip().splitlines() or [""])[-1].strip())
    if found is None:
        raise _unreadable("df", f"its last line is not four columns: {df.strip()[-200:]!r}")
    if found[1] != GLUSTER_MOUNT:
        return None
    return Capacity(int(found[2]), int(found[3]), int(found[4]))


def error_words(output: str) -> str:
    """What a failed command said: the ``opErrstr`` of its XML, or the text as it is."""
    try:
        found = ElementTree.fromstring(output).findtext("opErrstr")  # noqa: S314
    except ElementTree.ParseError:
        return output.strip()
    return (found or "").strip()


def _root(xml: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(xml)  # noqa: S314 — the local daemon's answer, not a stranger's
    except ElementTree.ParseError as error:
        raise _unreadable("gluster", f"its answer is not XML ({error}): {xml.strip()[:200]!r}") from error


def _text(node: ElementTree.Element, tag: str) -> str:
    found = node.findtext(tag)
    if found is None:
        raise _unreadable("gluster", f"element <{node.tag}> of its answer has no <{tag}>")
    return found


def _number(node: ElementTree.Element, tag: str) -> int:
    found = _count(_text(node, tag))
    if found is None:
        raise _unreadable("gluster", f"<{tag}> of its answer is not a number: {_text(node, tag)!r}")
    return found


def _count(text: str | None) -> int | None:
    """A whole number, or ``None`` for what Gluster writes instead of one: nothing, ``-``, ``N/A``."""
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text.strip()) else None


def _place(name: str) -> BrickPlace:
    host, colon, path = name.partition(":/")
    if not colon:
        raise _unreadable("gluster", f"a brick is called {name!r}, not HOST:/PATH")
    return BrickPlace(host, "/" + path)


def _unreadable(subject: str, reason: str) -> Failed:
    return Failed(
        "gluster.unreadable",
        subject=subject,
        reason=reason,
        remedy="Compare `gluster --version` with the versions in tests/data/gluster; the answer's shape has changed.",
    )
