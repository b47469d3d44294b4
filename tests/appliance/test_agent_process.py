"""The real agent: gunicorn, TLS, two lives (bare and member). Slow parts are shared by a module's fixtures."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import layout, pki
from appliance.errors import Conflict, Denied, Refused, TrivetError, Unavailable
from appliance.model.cluster import Membership
from appliance.wire.client import connect
from appliance.wire.definition import FilesApi, JoinApi, NodeApi, VmApi
from appliance.wire.kept import KEPT_FOR_S, KEPT_LIFE_S, Connection, Kept
from appliance.wire.server import BODY_LIMIT_BYTES
from appliance.wire.tls import MutualTls, PinnedTls, pin_of
from tests.appliance.agents import AgentProcess, Certificates, cluster, make_member, node_root


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[AgentProcess]:
    root = node_root(tmp_path_factory.mktemp("member") / "root")
    make_member(root, certificates)
    agent = AgentProcess(root)
    agent.start()
    yield agent
    agent.stop()


def node(agent: AgentProcess, tls: MutualTls | None, epoch: int | None = None) -> NodeApi:
    return connect(NodeApi, "127.0.0.1", agent.port, tls, epoch, name="node1")


def refusal(call: object) -> TrivetError:
    assert callable(call)
    with pytest.raises(TrivetError) as caught:
        call()
    error = caught.value
    assert error.subject and error.reason and error.remedy
    return error


def test_a_bare_node_is_joined_with_its_token_and_comes_back_as_a_member(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "pki")
    root = node_root(tmp_path / "root")
    agent = AgentProcess(root)
    agent.start()
    try:
        path = root.at(layout.JOIN_TOKEN_FILE)
        token = path.read_text().strip()
        assert path.stat().st_mode & 0o777 == 0o600
        join = connect(JoinApi, "127.0.0.1", agent.port, pin_of(token), name="node1")

        hello = join.join_hello(token)
        assert hello.facts.cluster_id == ""
        assert hello.fingerprint.startswith(token.partition(".")[2])

        wrong = refusal(lambda: join.join_hello("aaaaaaaaaaaaaaaa"))
        assert (wrong.code, type(wrong)) == ("join.token-wrong", Denied)
        assert refusal(lambda: node(agent, None).facts()).code == "agent.bare"
        pinned_elsewhere = connect(JoinApi, "127.0.0.1", agent.port, PinnedTls("0" * 16))
        assert refusal(lambda: pinned_elsewhere.join_hello(token)).code == "join.fingerprint"

        csr = join.join_csr(token, "node1", "127.0.0.1")
        signed = pki.sign_csr(
            certificates.ca, csr, "node", name="node1", sans=("node1", "127.0.0.1"), now_wall_s=time.time()
        )
        other = Certificates(tmp_path / "other-pki", "another-cluster")
        membership = Membership(certificates.cluster_id, "id-1", "node1")
        foreign = refusal(lambda: join.join_accept(token, signed, other.ca.certificate_pem, cluster(), membership))
        assert foreign.code == "pki.certificate-foreign"
        stranger = Membership(certificates.cluster_id, "id-7", "node7")
        assert (
            refusal(lambda: join.join_accept(token, signed, certificates.ca.certificate_pem, cluster(), stranger)).code
            == "join.mismatch"
        )
        assert path.exists(), "a refused membership uses no token up"

        join.join_accept(token, signed, certificates.ca.certificate_pem, cluster(), membership)
        reused = refusal(lambda: join.join_hello(token))
        assert (reused.code, reused.status) == ("join.token-used", 409)
        assert agent.wait() == 0, "the agent ends by itself, its unit starts it again"

        agent.start()
        assert node(agent, certificates.tls("node2")).facts().cluster_id == certificates.cluster_id
        late = connect(JoinApi, "127.0.0.1", agent.port, PinnedTls(""))
        assert refusal(lambda: late.join_hello(token)).code == "join.already-member"
        assert not path.exists()
    finally:
        agent.stop()


class CountedTls(MutualTls):
    """Counts the handshakes."""

    handshakes = 0

    def context(self) -> ssl.SSLContext:
        type(self).handshakes += 1
        return super().context()


def test_who_keeps_its_connection_shakes_hands_once_and_again_after_a_restart(
    tmp_path: Path, certificates: Certificates
) -> None:
    root = node_root(tmp_path / "root")
    make_member(root, certificates)
    agent = AgentProcess(root)
    agent.start()
    try:
        files = certificates.tls("node2")
        tls = CountedTls(files.ca, files.certificate, files.key, files.cluster_id)
        kept = connect(NodeApi, "127.0.0.1", agent.port, tls, None, name="node1", keep=True)
        for _ in range(5):
            assert kept.facts().name == "node1"
        assert CountedTls.handshakes == 1
        agent.stop()
        refusal(kept.facts)
        agent.start()
        before = CountedTls.handshakes
        assert kept.facts().name == "node1"
        assert kept.statistics().memory_total_bytes > 0
        assert CountedTls.handshakes == before + 1
    finally:
        agent.stop()


def test_kept_connections_are_few_and_do_not_live_for_ever() -> None:
    now_s = 0.0
    kept = Kept(lambda: now_s)
    made = [Connection(ssl.create_default_context().wrap_socket(socket.socket(), do_handshake_on_connect=False,
                       server_hostname="node1"), 0.0) for _ in range(3)]  # fmt: skip
    assert [kept.put(one) for one in made] == [True, True, False]
    assert kept.take() is made[1]
    now_s = KEPT_FOR_S
    assert kept.take() is None
    assert made[0].channel.fileno() == -1, "too old, and closed"
    assert kept.put(made[1])
    assert kept.take() is made[1]
    now_s = KEPT_LIFE_S
    assert not kept.put(made[1])
    for one in made:
        one.channel.close()


def test_a_member_answers_members_and_the_engine(member: AgentProcess, certificates: Certificates) -> None:
    facts = node(member, certificates.tls("node2")).facts()
    assert facts.name == "node1"
    assert facts.memory_bytes > 0
    assert facts.cpu.threads >= 1
    assert node(member, certificates.tls("engine", "engine")).statistics().memory_total_bytes == facts.memory_bytes


def test_no_certificate_is_refused_in_words(member: AgentProcess) -> None:
    error = refusal(lambda: connect(NodeApi, "127.0.0.1", member.port, PinnedTls("")).facts())
    assert (error.code, error.status) == ("agent.certificate-missing", 403)


def test_certificate_of_another_cluster(member: AgentProcess, certificates: Certificates, tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other", "another-cluster")
    theirs = other.tls("node2")
    assert refusal(lambda: node(member, theirs).facts()).code == "agent.other-cluster"
    # trusting the node's CA but showing a foreign certificate: the node refuses it
    mixed = MutualTls(certificates.folder / "ca.pem", theirs.certificate, theirs.key, certificates.cluster_id)
    assert refusal(lambda: node(member, mixed).facts()).code == "agent.other-cluster"


def test_same_ca_but_another_cluster_id(member: AgentProcess, certificates: Certificates) -> None:
    ours = certificates.tls("node2")
    believing = MutualTls(ours.ca, ours.certificate, ours.key, "some-other-id")
    error = refusal(lambda: node(member, believing).facts())
    assert error.code == "agent.other-cluster"
    assert certificates.cluster_id in error.reason


def test_a_caller_whose_certificate_has_expired_or_not_begun(member: AgentProcess, certificates: Certificates) -> None:
    past = certificates.tls("past", days_from_now=-pki.MEMBER_DAYS - 1)
    assert refusal(lambda: node(member, past).facts()).code == "agent.certificate-date"
    # TLS has no alert of its own for "not yet": the node says only that it is bad
    future = certificates.tls("future", days_from_now=3)
    assert refusal(lambda: node(member, future).facts()).code in ("agent.certificate-date", "agent.other-cluster")


@pytest.mark.parametrize(
    ("days", "address", "code"),
    [
        (-pki.MEMBER_DAYS - 1, "127.0.0.1", "agent.certificate-date"),
        (3, "127.0.0.1", "agent.certificate-date"),
        (0, "127.0.0.2", "agent.other-node"),
    ],
)
def test_a_node_whose_certificate_is_out_of_time_or_another_nodes(
    certificates: Certificates, days: int, address: str, code: str
) -> None:
    tls = certificates.tls("node1", days_from_now=days, address=address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands() -> None:
            plain, _ = listener.accept()
            with plain, pytest.raises(OSError):
                context.wrap_socket(plain, server_side=True).recv(1)

        thread = threading.Thread(target=shake_hands, daemon=True)
        thread.start()
        agent = connect(NodeApi, "127.0.0.1", listener.getsockname()[1], certificates.tls("node2"), name="node1")
        error = refusal(agent.facts)
        thread.join(5)
    assert (error.code, error.subject) == (code, "node1")


def test_an_engine_must_send_its_epoch_with_commands(member: AgentProcess, certificates: Certificates) -> None:
    engine = certificates.tls("engine", "engine")
    error = refusal(lambda: node(member, engine).unit("glusterd", "state"))
    assert (error.code, type(error)) == ("engine.epoch-missing", Refused)


def test_a_stale_epoch_is_refused_on_every_route_and_survives_a_restart(
    member: AgentProcess, certificates: Certificates
) -> None:
    engine = certificates.tls("engine", "engine")
    assert node(member, engine, 7).raise_epoch(7) == 7
    for call in (
        lambda: node(member, engine, 6).facts(),
        lambda: node(member, certificates.tls("node2"), 3).epoch(),
        lambda: connect(VmApi, "127.0.0.1", member.port, engine, 6).vm_destroy("HostedEngine"),
        lambda: connect(FilesApi, "127.0.0.1", member.port, engine, 6).unmount_volume("engine"),
    ):
        error = refusal(call)
        assert (error.code, error.status, error.facts["highest"]) == ("engine.stale-epoch", 409, 7)
    assert node(member, engine, 9).facts().name == "node1", "a higher one is taken over"
    member.stop()
    member.start()
    assert node(member, certificates.tls("node2")).epoch() == 9


def test_a_body_too_large_an_unknown_route_and_a_wrong_verb(member: AgentProcess, certificates: Certificates) -> None:
    context = certificates.tls("node2").context()
    for verb, path, body, status, code in (
        ("POST", "/v1/folder", b"x" * (BODY_LIMIT_BYTES + 1), 413, "agent.body-too-large"),
        ("POST", "/v1/folder", b"{not json", 400, "agent.request"),
        ("POST", "/v1/folder", b'{"path": 7}', 400, "agent.request"),
        ("POST", "/v1/folder", b'{"path": "/", "sudo": true}', 400, "agent.request"),
        ("GET", "/v1/nothing", None, 404, "agent.route-unknown"),
        ("POST", "/v1/facts", b"{}", 405, "agent.verb"),
    ):
        connection = http.client.HTTPSConnection("127.0.0.1", member.port, context=context, timeout=10)
        connection.request(verb, path, body)
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
        assert (answer.status, error["code"]) == (status, code)
        assert error["object"] and error["reason"] and error["remedy"]
        connection.close()


def test_a_node_that_accepts_and_says_nothing_is_given_up_at_the_deadline(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        agent = connect(
            NodeApi, "127.0.0.1", silent.getsockname()[1], certificates.tls("node2"), name="node3", timeout_s=0.5
        )
        began_s = time.monotonic()
        error = refusal(agent.facts)
        assert time.monotonic() - began_s < 2
    assert (error.code, type(error), error.subject) == ("agent.unreachable", Unavailable, "node3")
    assert "0.5 s" in error.reason


def test_a_node_that_drips_bytes_gains_no_time(certificates: Certificates) -> None:
    """Each byte comes in time, the whole answer does not: the deadline is for the whole call."""
    tls = certificates.tls("node1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) as channel:
                channel.recv(4096)
                try:
                    while not stop.is_set():
                        channel.sendall(b"H")
                        stop.wait(0.1)
                except OSError:
                    return  # the client has hung up, as it should

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        agent = connect(
            NodeApi, "127.0.0.1", listener.getsockname()[1], certificates.tls("node2"), name="node3", timeout_s=1.0
        )
        began_s = time.monotonic()
        error = refusal(agent.facts)
        assert time.monotonic() - began_s < 3
        stop.set()
        thread.join(5)
    assert error.code == "agent.unreachable"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    error = refusal(lambda: connect(NodeApi, "127.0.0.1", port, name="node9").facts())
    assert (error.code, error.subject) == ("agent.unreachable", "node9")


def test_a_taken_port_is_said_and_nothing_else_happens(member: AgentProcess, tmp_path: Path) -> None:
    second = AgentProcess(node_root(tmp_path / "root"), port=member.port)
    ended = second.run_to_end()
    assert ended.returncode == Conflict.exit_code
    assert "agent.port-taken" in ended.stderr and str(member.port) in ended.stderr


def test_the_agent_has_a_small_memory(member: AgentProcess) -> None:
    """Agent and broker share 250 MiB on a node; the agent takes at most half."""
    assert member.process is not None
    pid = member.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    kib = 0
    for one in (str(pid), *children):
        status = Path(f"/proc/{one}/status").read_text()
        kib += int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
    assert len(children) == 1
    assert kib < 125 * 1024
