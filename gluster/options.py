"""The volume options, each with its reason. Names and values were set for real on Gluster 11.1.

Not here because 11.1 sets them when it makes a replicated volume: granular entry heal (and refuses ``volume set`` for it),
``nfs.disable``. Not used: ``auth.ssl-allow`` and TLS on the data path, because the pool lives on the management network
which the nodes own; ``auth.reject`` is how a lost host is evicted (:func:`gluster.verbs.reject`) and never touched here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.layout import ENGINE_VOLUME, QEMU_UID, VMSTORE_VOLUME

BOTH = (ENGINE_VOLUME, VMSTORE_VOLUME)


@dataclass(frozen=True)
class Option:
    """One option: its value, the volumes it is for, and why."""

    name: str
    value: str
    because: str
    volumes: tuple[str, ...] = BOTH


OPTIONS: tuple[Option, ...] = (
    # The fence
    Option("client.strict-locks", "on", "a holder that lost its lock gets EBADFD for ever, also after the heal"),
    Option("features.shard", "off", "only the first shard hangs on the locked handle: no fence", (ENGINE_VOLUME,)),
    Option("features.shard", "on", "many large disks: healing and placing in 64 MiB pieces", (VMSTORE_VOLUME,)),
    Option("features.shard-block-size", "64MB", "the virt group's size, which oVirt has run for years", (VMSTORE_VOLUME,)),
    Option("performance.open-behind", "off", "an open must reach the bricks at once: the lock hangs on that handle"),
    # How soon a vanished node is noticed: its lock is free after 5.6 s (measured; 35 s with the virt group's values)
    Option("network.ping-timeout", "5", "a client gives a silent brick up after this many seconds"),
    Option("client.tcp-user-timeout", "5", "the same for bytes that nobody acknowledges, seen from the client"),
    Option(
        "server.tcp-user-timeout",
        "6",
        "the brick frees the locks of a client from which it heard nothing for so long. A second more than on the client, "
        "because it counts from what it heard last, up to a second before a cut: with 5 a pause of 4 s ended every "
        "connection (seen). Nobody waits for it: what others wait for is their own side, and 1.8 s more",
    ),
    Option("client.keepalive-time", "3", "an idle connection is tested after 3 s"),
    Option("client.keepalive-interval", "1", "every second"),
    Option("client.keepalive-count", "3", "and given up after three losses"),
    Option("server.keepalive-time", "3", "an idle client is tested after 3 s, because a lock holder may be idle"),
    Option("server.keepalive-interval", "1", "every second"),
    Option("server.keepalive-count", "3", "and given up after three losses"),
    # Quorum
    Option("cluster.quorum-type", "auto", "a client writes only while it sees two of the three bricks: no split-brain"),
    Option(
        "cluster.server-quorum-type",
        "none",
        "a glusterd that loses sight of the others kills its bricks and starts them anew, without their locks: restarting "
        "two glusterds restarted two bricks (seen), which costs a lock holder its disk. The fence is the client's side",
    ),
    Option("cluster.favorite-child-policy", "none", "a split-brain is a person's decision, never a guess"),
    # Healing
    Option("cluster.self-heal-daemon", "on", "healing needs no reader"),
    Option("cluster.heal-timeout", "60", "what was missed is looked for every minute: the refresh waits for it"),
    Option(
        "cluster.data-self-heal-algorithm",
        "diff",
        "one unsharded disk of which little changed: compare checksums, send only what differs",
        (ENGINE_VOLUME,),
    ),
    Option(
        "cluster.data-self-heal-algorithm", "full", "shards are small: copying is cheaper than comparing", (VMSTORE_VOLUME,)
    ),
    Option(
        "cluster.self-heal-window-size",
        "128",
        "16 MiB at once: 4 GiB were healed in 30 s, with the default of 1 MiB in 53 s; a write waits 0.1 s for it",
        (ENGINE_VOLUME,),
    ),
    Option("cluster.locking-scheme", "granular", "a write may pass a heal of the same file at another place"),
    Option("cluster.shd-max-threads", "8", "many shards heal side by side", (VMSTORE_VOLUME,)),
    Option("cluster.shd-wait-qlength", "10000", "the queue that feeds those threads", (VMSTORE_VOLUME,)),
    # Fresh reads and honest writes: brokers read each other's slots, QEMU runs with cache=none
    Option("performance.strict-o-direct", "on", "O_DIRECT of QEMU and of the board means: nothing on the way keeps a copy"),
    Option("network.remote-dio", "disable", "O_DIRECT reaches the bricks as such"),
    Option("performance.quick-read", "off", "it would answer a small file (a board slot) from memory"),
    Option("performance.read-ahead", "off", "it would read old bytes ahead, and the guest's kernel does this already"),
    Option("performance.io-cache", "off", "it would answer reads from memory for a second"),
    Option(
        "performance.stat-prefetch", "off", "it would say for a second that a new slot is not there, or has its old size"
    ),
    Option("performance.readdir-ahead", "off", "it would list a folder as it was before"),
    Option("performance.write-behind", "off", "an acknowledged write is on the bricks", (ENGINE_VOLUME,)),
    Option("cluster.choose-local", "off", "all nodes read one file from the same brick, so that all see the same bytes"),
    # Throughput
    Option("performance.client-io-threads", "on", "several guests of one host write side by side (virt group)"),
    Option("cluster.lookup-optimize", "off", "it saves nothing on one replica set (virt group)"),
    # Owner
    Option("storage.owner-uid", str(QEMU_UID), "QEMU runs as libvirt-qemu and has to open its disks; root still may"),
    Option("storage.owner-gid", str(QEMU_UID), "as above"),
)


def options_for(volume: str) -> Mapping[str, str]:
    """The options that volume ``engine`` or ``vmstore`` has to have."""
    return {option.name: option.value for option in OPTIONS if volume in option.volumes}


def because(volume: str, name: str) -> str:
    """Why ``volume`` has option ``name``."""
    return next(option.because for option in OPTIONS if option.name == name and volume in option.volumes)
