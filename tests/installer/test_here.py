"""The installing node for real: secrets and who may read them, what the engine is given, what is resolved."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import pki
from appliance.effects.clock import FakeClock, SystemClock
from appliance.errors import Conflict, Unavailable
from appliance.model.cluster import Cluster
from appliance.passwords import HASHER
from appliance.wire.definition import FilesApi, JoinApi, NodeApi
from appliance.wire.signatures import check_implementation
from gluster.wire import GlusterApi
from installer import answers
from installer.fake import FakeAgents, FakeInstallingNode
from installer.fake_node import FakeNode
from installer.fake_servers import FakeServers
from installer.here import ThisNode, health
from installer.install import alone
from installer.plan import cluster_of, mac_of, steps_of
from installer.probe import View, look
from tests.installer.test_crash import ANSWERS, rack

READ = answers.parse(ANSWERS, "answers.toml")


@pytest.fixture
def seen(tmp_path: Path) -> tuple[View, FakeInstallingNode]:
    rack(tmp_path)
    servers = FakeServers(tmp_path / "world.json", FakeClock())
    installing = FakeInstallingNode(servers, tmp_path / "state", "node1")
    return look(READ, None, FakeAgents(servers), installing, servers.clock), installing


@pytest.fixture
def cluster(seen: tuple[View, FakeInstallingNode]) -> Cluster:
    view, installing = seen
    return cluster_of(READ, view, None, installing)


@pytest.fixture
def node(tmp_path: Path) -> ThisNode:
    return ThisNode(SystemClock(), state=tmp_path / "real", images=tmp_path / "images")


@pytest.mark.parametrize("interface", [JoinApi, NodeApi, FilesApi, GlusterApi])
def test_the_fake_node_takes_every_call_of_an_agent(interface: type, tmp_path: Path) -> None:
    """Otherwise the first to notice is an installation that is killed at every place, among the last of all tests."""
    check_implementation(interface, FakeNode(FakeServers(tmp_path / "world.json", FakeClock()), "node1", True))


def test_secrets_are_its_owners_alone(node: ThisNode, cluster: Cluster, tmp_path: Path) -> None:
    node.keep_draft(cluster)
    node.make_ca(cluster)
    node.make_admin_password()
    node.keep_answers("[cluster]\n")
    kept = [path for path in (tmp_path / "real").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"cluster.json", "ca.key", "ca.pem", "admin-password", "answers.toml"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert node.draft() == cluster


def test_a_password_is_made_once_and_never_twice_the_same(node: ThisNode, tmp_path: Path) -> None:
    node.make_admin_password()
    first = (tmp_path / "real/admin-password").read_text()
    node.make_admin_password()
    assert (tmp_path / "real/admin-password").read_text() == first
    other = ThisNode(SystemClock(), state=tmp_path / "other", images=tmp_path)
    other.make_admin_password()
    assert (tmp_path / "other/admin-password").read_text() != first
    assert len(first.strip()) >= 24


def test_the_ca_counts_only_with_its_key(node: ThisNode, cluster: Cluster, tmp_path: Path) -> None:
    node.make_ca(cluster)
    assert node.ca_pem()
    (tmp_path / "real/pki/ca.key").unlink()
    assert node.ca_pem() == ""


def test_what_the_engine_is_given(node: ThisNode, cluster: Cluster, tmp_path: Path) -> None:
    node.make_ca(cluster)
    node.make_admin_password()
    identity = node.engine_identity(cluster, ("ssh-ed25519 AAAA me",))
    password = (tmp_path / "real/admin-password").read_text().strip()
    assert HASHER.verify(identity.admin_password_hash, password)
    assert identity.admin_password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$"), "no dearer than the engine's own"
    assert password not in str(identity)
    subject = pki.verify_member(identity.engine_pem, identity.ca_pem, identity.engine_key_pem)
    assert (subject.unit, subject.cluster_id) == ("engine", cluster.id)
    assert set(subject.sans) == {cluster.engine.fqdn, cluster.engine.address, "127.0.0.1", "localhost"}
    assert identity.ssh_authorized_keys == ("ssh-ed25519 AAAA me",)


def test_an_engine_image_that_is_missing_or_altered(node: ThisNode, tmp_path: Path) -> None:
    assert "there is no such image" in node.engine_image_problem()
    (tmp_path / "images").mkdir()
    (tmp_path / "images/trivet-engine-0.1.0.raw").write_bytes(b"something")
    assert "no manifest" in node.engine_image_problem()


def test_names_and_addresses(node: ThisNode) -> None:
    assert node.resolve("198.18.0.7") == "198.18.0.7"
    assert node.resolve("localhost") in ("127.0.0.1", "::1")
    assert node.resolve("no-such-name.invalid") == ""
    assert node.has_address("127.0.0.1")
    assert not node.has_address("198.18.255.254")


def test_an_engine_that_does_not_answer(node: ThisNode, cluster: Cluster, tmp_path: Path) -> None:
    node.make_ca(cluster)
    with pytest.raises(Unavailable) as caught:
        health("127.0.0.1", 9, tmp_path / "real/pki/ca.pem")
    assert caught.value.code == "engine.unreachable"


def test_other_answers_than_those_begun_with(seen: tuple[View, FakeInstallingNode], cluster: Cluster) -> None:
    view, installing = seen
    assert cluster_of(READ, view, cluster, installing) == cluster
    for other in (
        replace(READ, cluster=replace(READ.cluster, name="other")),
        replace(READ, engine=replace(READ.engine, memory_mib=2048)),
    ):
        with pytest.raises(Conflict) as caught:
            cluster_of(other, view, cluster, installing)
        assert caught.value.code == "install.other-answers"
    moved = replace(view, nodes=(*view.nodes[:2], replace(view.nodes[2], address="198.18.0.19")))
    with pytest.raises(Conflict, match=r"node3 at 198\.18\.0\.13"):
        cluster_of(READ, moved, cluster, installing)
    with pytest.raises(Conflict, match="3 nodes, the answers have 2"):
        cluster_of(replace(READ, nodes=READ.nodes[:2]), replace(view, nodes=view.nodes[:2]), cluster, installing)


def test_the_plan_has_unique_names_and_times(cluster: Cluster) -> None:
    steps = steps_of(READ, cluster, "node2")
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert names.index("join.node2") < names.index("join.node1")
    assert all(step.weight_s > 0 for step in steps)
    assert "brick-disk.node2" in names
    assert "brick-disk.node1" not in names


def test_mac_follows_from_the_id() -> None:
    assert mac_of("a") == mac_of("a") != mac_of("b")
    assert mac_of("a").startswith("52:54:00:")
    assert len(mac_of("a")) == 17


def test_one_installation_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path / "lock"), pytest.raises(Conflict) as caught, alone(tmp_path / "lock"):
        pass
    assert caught.value.code == "install.running"
    with alone(tmp_path / "lock"):
        pass
