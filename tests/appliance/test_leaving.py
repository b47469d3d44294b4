"""A member becomes a bare node again."""

from __future__ import annotations

from pathlib import Path

from appliance import layout
from appliance.fakes.libvirt import FakeLibvirt
from appliance.fakes.process import ScriptedProcesses
from appliance.verbs.leaving import Leaving
from appliance.verbs.libvirt_settings import LIBVIRT_PKI
from appliance.verbs.membership import MembershipFiles
from appliance.verbs.names import set_names
from appliance.verbs.vms import VmVerbs
from tests.appliance.agents import Certificates, cluster, make_member, node_root
from tests.appliance.test_domain_xml import ENGINE
from tests.appliance.test_verbs import code


def test_a_member_leaves_and_is_bare_again(tmp_path: Path) -> None:
    root = node_root(tmp_path / "root")
    make_member(root, Certificates(tmp_path / "pki"))
    fake, processes = (
        FakeLibvirt(),
        ScriptedProcesses({"systemctl disable --now": "", "systemctl stop libvirtd.service": ""}),
    )
    root.at("/etc").mkdir()
    root.at("/etc/hosts").write_text("127.0.0.1 localhost\n")
    set_names(root, cluster().members, "engine.test", "127.0.0.9")
    for path in (
        layout.HA_STATE / "local-maintenance",
        layout.EPOCH_FILE,
        layout.PKI / "ca.key",
        LIBVIRT_PKI / "private/serverkey.pem",
    ):
        root.at(path).parent.mkdir(parents=True, exist_ok=True)
        root.at(path).write_text("x")
    VmVerbs(fake, lambda: False).start(ENGINE, paused=False)
    assert code(Leaving(root, processes, fake).leave) == "node.in-use"
    assert MembershipFiles(root).membership() is not None
    assert processes.ran == []
    VmVerbs(fake, lambda: False).destroy(ENGINE.name)
    for _ in range(2):
        Leaving(root, processes, fake).leave()
        assert MembershipFiles(root).membership() is None
        assert [path.name for path in root.at(layout.STATE).rglob("*") if path.is_file()] == []
        assert not root.at(LIBVIRT_PKI).exists()
        assert root.at("/etc/hosts").read_text() == "127.0.0.1 localhost\n"
    assert "trivet-ha.service" in processes.ran[0]
