"""People's keys for serial consoles: what is a key, whose it is, and who may change it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.errors import Refused
from engine.core import Engine
from engine.decide.roles import BY_NAME
from engine.decide.ssh_key import identity
from engine.store.permissions import ADMIN_ID, Permits
from tests.engine.test_vms import user
from tests.engine.vm_world import Vms, detail, fake_hosts


def part(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def key(fill: int = 1, kind: str = "ssh-ed25519", comment: str = "ann@desk") -> str:
    return f"{kind} {base64.b64encode(part(kind.encode()) + part(bytes([fill]) * 32)).decode()} {comment}"


def rsa(bits: int) -> str:
    number = (1 << (bits - 1)).to_bytes(bits // 8 + 1)
    return "ssh-rsa " + base64.b64encode(part(b"ssh-rsa") + part(b"\1\0\1") + part(number)).decode()


@pytest.fixture
def vms(engine: Engine, client: FlaskClient, token: str, tmp_path: Path) -> Vms:
    return Vms(engine, client, token, fake_hosts(tmp_path / "hosts"))


def test_a_key_is_known_without_its_comment() -> None:
    assert identity(key(1, comment="a b c")) == identity(key(1, comment="")) == " ".join(key(1).split()[:2])
    assert identity(key(1)) != identity(key(2))
    assert identity(rsa(2048)).startswith("ssh-rsa ")


@pytest.mark.parametrize(
    "content",
    [
        "", "ssh-ed25519", "ssh-dss AAAA", f'command="sh" {key()}', f"restrict,pty {key()}", key() + "\n" + key(2),
        key() + "\0", "ssh-ed25519 AAAA", "ssh-ed25519 !!!", key().replace("ssh-ed25519", "ecdsa-sha2-nistp256", 1),
        rsa(1024), key(comment="x" * 5000), key()[:40],
        "ssh-ed25519 " + base64.b64encode(part(b"ssh-ed25519") + b"\0\0\1\0ab").decode(),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused(content: str) -> None:
    with pytest.raises(Refused) as caught:
        identity(content)
    assert caught.value.code == "ssh-key.content"


def test_keys_come_and_go(vms: Vms) -> None:
    keys = f"users/{ADMIN_ID}/sshpublickeys"
    status, made = vms.ask("POST", keys, {"content": f"  {key()}\n"})
    assert (status, made["content"], made["user"]["id"]) == (201, key(), ADMIN_ID)
    assert [one["content"] for one in vms.ask("GET", keys)[1]["ssh_public_key"]] == [key()]
    assert vms.ask("PUT", f"{keys}/{made['id']}", {"content": key(2)})[1]["content"] == key(2)
    status, fault = vms.ask("PUT", f"{keys}/{made['id']}", {"content": "ssh-ed25519 nonsense"})
    assert (status, vms.ask("GET", f"{keys}/{made['id']}")[1]["content"]) == (400, key(2))
    assert "no key" in detail(fault)
    assert vms.ask("DELETE", f"{keys}/{made['id']}")[0] == 200
    assert vms.ask("GET", keys)[1] == {}


def test_a_key_is_one_persons(vms: Vms) -> None:
    user(vms, "ann")
    assert vms.ask("POST", f"users/{ADMIN_ID}/sshpublickeys", {"content": key(comment="one")})[0] == 201
    status, fault = vms.ask("POST", "users/user-ann/sshpublickeys", {"content": key(comment="other")})
    assert (status, "in use" in detail(fault)) == (409, True)


def test_who_sees_everything_is_not_everybody(vms: Vms) -> None:
    """Everybody has the permit for their own profile; with it alone a read-only administrator could be the administrator."""
    token = user(vms, "ann")
    keys = f"users/{ADMIN_ID}/sshpublickeys"
    mine = vms.ask("POST", keys, {"content": key(1)})[1]["id"]
    Permits(vms.engine.store.entities).give(BY_NAME["ReadOnlyAdmin"].id, ("user", "user-ann"), None)
    assert vms.ask("GET", keys, token=token)[0] == 200
    for method, path, body in (
        ("POST", keys, {"content": key(2)}), ("PUT", f"{keys}/{mine}", {"content": key(2)}),
        ("DELETE", f"{keys}/{mine}", None),
    ):  # fmt: skip
        assert vms.ask(method, path, body, token=token)[0] == 403
    assert vms.ask("POST", "users/user-ann/sshpublickeys", {"content": key(2)}, token=token)[0] == 201
    assert vms.ask("POST", "users/user-ann/sshpublickeys", {"content": key(3)})[0] == 201, "who administers users may"
