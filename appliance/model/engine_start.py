"""What the outside tells the engine VM: once who it is, and at each start which epoch it has.

The broker's side writes both onto the seed disk (an ISO file system labelled ``cidata``, which is also cloud-init's NoCloud
seed); the engine's side reads them before anything else runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.model.cluster import Cluster


@dataclass(frozen=True)
class EngineIdentity:
    """Given by the installer; copied by the engine onto its data disk at its first start, ignored afterwards.

    ``admin_password_hash`` is an argon2id hash in PHC form. The PEM texts are the engine's key and certificate (client and
    server use), the cluster's CA certificate and its key (the engine renews and enrols).
    """

    cluster: Cluster
    admin_password_hash: str
    ca_pem: str
    ca_key_pem: str
    engine_pem: str
    engine_key_pem: str
    ssh_authorized_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineStart:
    """Given at every start. ``epoch`` is higher than that of every start before; ``host`` names the node it starts on."""

    epoch: int
    host: str
    address: str
    prefix: int
    gateway: str
    dns: tuple[str, ...]
    fqdn: str
    hosts: tuple[tuple[str, str], ...]
    """(name, address) of every node: the engine's /etc/hosts."""
