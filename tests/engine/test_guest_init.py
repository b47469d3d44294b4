"""What cloud-init is told of a guest: the three files, the network, passwords' hashes; what is refused. All pure."""

from __future__ import annotations

import email
import json
from email.message import Message
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from appliance.errors import Refused
from engine.api.guest_secrets import LIMIT_CHARACTERS, hashed, sealed
from engine.decide import guest_init
from engine.decide.crypt_sha512 import crypt_sha512
from engine.decide.guest_network import GuestNic, network_config
from image.recipe import CACHE

HASH = "$6$rounds=5000$0123456789abcdef$" + "x" * 86
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPx me@home"
NICS = (GuestNic("nic1", "00:1a:4a:00:00:01"), GuestNic("nic2", "00:1a:4a:00:00:02"))
STATIC = {
    "name": "eth0",
    "boot_protocol": "static",
    "ip": {"address": "192.0.2.5", "netmask": "255.255.255.0", "gateway": "192.0.2.1"},
    "ipv6_boot_protocol": "static",
    "ipv6": {"address": "2001:db8::5", "netmask": "64", "gateway": "2001:db8::1"},
}
RICH: dict[str, Any] = {
    "host_name": "web1.lab",
    "user_name": "root",
    "root_password": HASH,
    "authorized_ssh_keys": f"# mine\n{KEY}\n\n",
    "timezone": "Europe/Berlin",
    "regenerate_ssh_keys": False,
    "dns_servers": "192.0.2.53 2001:db8::53",
    "dns_search": "lab example.org",
    "nic_configurations": [STATIC, {"name": "nic2", "boot_protocol": "dhcp", "ipv6_boot_protocol": "poly_dhcp_autoconf"}],
}


def seed(given: dict[str, Any], name: str = "web1") -> tuple[dict[str, Any], str, dict[str, Any] | None]:
    made = guest_init.seed("i-1", name, {"initialization": given}, NICS)
    return json.loads(made.meta_data), made.user_data, json.loads(made.network_config) if made.network_config else None


def config_of(user_data: str) -> dict[str, Any]:
    head, text = user_data.split("\n", 1)
    assert head == "#cloud-config"
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("password", "salt", "rounds", "end"),
    [  # of the scheme's own specification
        ("Hello world!", "saltstringsaltstring", 10_000,
         "saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."),
        ("This is just a test", "toolongsaltstring", 5_000,
         "toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0"),
        ("we have a short salt string but not a short password", "short", 77_777,
         "short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0"),
    ],
)  # fmt: skip
def test_the_hash_is_the_schemes(password: str, salt: str, rounds: int, end: str) -> None:
    assert crypt_sha512(password, salt, rounds) == f"$6$rounds={rounds}${end}"


def test_passwords_are_hashed_wherever_a_body_has_them() -> None:
    body = {
        "initialization": {"root_password": "geheim", "cloud_init": {"users": [{"user_name": "a", "password": "geheim"}]}},
        "vm": {"initialization": {"root_password": HASH, "host_name": "h"}},
        "vms": [{"initialization": None}, {"initialization": {"root_password": ""}}],
        "root_password": "of a host",
    }
    found = sealed(body)
    first = found["initialization"]
    words = [first["root_password"], first["cloud_init"]["users"][0]["password"]]
    for word in words:
        _empty, kind, rounds, salt, _hash = word.split("$")
        assert (kind, crypt_sha512("geheim", salt, int(rounds.removeprefix("rounds=")))) == ("6", word)
    assert words[0] != words[1], "each has a salt of its own"
    assert found["vm"]["initialization"] == {"root_password": HASH, "host_name": "h"}, "a hash stays"
    assert found["vms"] == body["vms"]
    assert found["root_password"] == "of a host"
    assert guest_init.shown(first) == {"cloud_init": {"users": [{"user_name": "a"}]}}
    for bad in ("x" * (LIMIT_CHARACTERS + 1), "a\nroot:b"):
        with pytest.raises(Refused, match="one line"):
            hashed(bad)
    assert hashed("$6$not a hash").startswith("$6$rounds="), "what only begins like one is a password"


def test_the_three_files() -> None:
    meta, user, network = seed(RICH)
    assert meta == {"instance-id": "i-1", "local-hostname": "web1.lab"}
    assert config_of(user) == {
        "user": "root",
        "disable_root": False,
        "password": HASH,
        "chpasswd": {"expire": False},
        "ssh_pwauth": True,
        "ssh_authorized_keys": [KEY],
        "timezone": "Europe/Berlin",
        "ssh_deletekeys": False,
    }
    names = {"addresses": ["192.0.2.53", "2001:db8::53"], "search": ["lab", "example.org"]}
    assert network == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "dhcp4": False,
                "dhcp6": False,
                "addresses": ["192.0.2.5/24", "2001:db8::5/64"],
                "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.1"}, {"to": "::/0", "via": "2001:db8::1"}],
                "nameservers": names,
            },
            "nic2": {
                "match": {"macaddress": "00:1a:4a:00:00:02"},
                "dhcp4": True,
                "dhcp6": True,
                "accept-ra": True,
                "nameservers": names,
            },
        },
    }


def test_what_is_not_said_is_the_guests() -> None:
    assert seed({}) == ({"instance-id": "i-1", "local-hostname": "web1"}, "#cloud-config\n{}\n", None)
    assert "local-hostname" not in seed({}, name="web_1")[0], "a VM's name that can be no host name"
    assert config_of(seed({"user_name": "ada"})[1]) == {"user": "ada"}
    only_dns = seed({"dns_servers": "192.0.2.53"})[2]
    assert only_dns is not None
    assert only_dns["ethernets"] == {
        "nic1": {"match": {"macaddress": NICS[0].mac}, "dhcp4": True, "nameservers": {"addresses": ["192.0.2.53"]}}
    }
    assert network_config({"dns_servers": "192.0.2.53"}, ()) is None
    later = network_config({"nic_configurations": [{**STATIC, "on_boot": False}]}, NICS)
    assert later == {"version": 2, "ethernets": {}}
    plain = network_config({"nic_configurations": [{"name": "e", "ip": {"address": "192.0.2.9", "netmask": "24"}}]}, NICS)
    assert plain is not None
    assert plain["ethernets"]["e"]["addresses"] == ["192.0.2.9/24"], "an address without a word for it is static"


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        ("packages: [nginx]", "text/cloud-config", "#cloud-config\npackages: [nginx]"),
        ("# a remark\nruncmd: []", "text/cloud-config", "#cloud-config\n# a remark\nruncmd: []"),
        ("#cloud-config\nruncmd: []", "text/plain", "#cloud-config\nruncmd: []"),
        ("\n#!/bin/sh\necho grün", "text/plain", "#!/bin/sh\necho grün"),
    ],
)
def test_a_custom_script_is_a_second_part(script: str, kind: str, text: str) -> None:
    user = seed({"user_name": "ada", "custom_script": script})[1]
    assert user == seed({"user_name": "ada", "custom_script": script})[1], "the same for the same"
    message = email.message_from_string(user)
    assert message.get_content_type() == "multipart/mixed"
    own, other = (part for part in message.walk() if not part.is_multipart())
    assert isinstance(own, Message)
    assert (own.get_content_type(), other.get_content_type()) == ("text/cloud-config", kind)
    found = [part.get_payload(decode=True) for part in (own, other)]
    assert [one.decode() for one in found if isinstance(one, bytes)] == ['#cloud-config\n{"user": "ada"}\n', text]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host_name": "a b"}, "no host name"),
        ({"host_name": "-a"}, "no host name"),
        ({"user_name": "root:x"}, "no user name"),
        ({"timezone": "../etc/shadow"}, "no name of a time zone"),
        ({"authorized_ssh_keys": f"{KEY}\nnonsense"}, "line 2 of authorized_ssh_keys"),
        ({"dns_servers": "192.0.2.1 ns.example.org"}, "'ns.example.org' is no address"),
        ({"dns_search": "ex_ample"}, "no DNS domain"),
        ({"nic_configurations": [{"name": ""}]}, "no name of a network interface"),
        ({"nic_configurations": [{"name": "a"}, {"name": "a"}]}, "configured twice"),
        ({"nic_configurations": [{"name": "a", "boot_protocol": "static"}]}, "needs address and netmask"),
        ({"nic_configurations": [{**STATIC, "ip": {"address": "192.0.2.5"}}]}, "needs address and netmask"),
        (
            {"nic_configurations": [{**STATIC, "ip": {"address": "2001:db8::1", "netmask": "64"}}]},
            "needs address and netmask",
        ),
        ({"nic_configurations": [{**STATIC, "ipv6": {**STATIC["ipv6"], "gateway": "192.0.2.1"}}]}, "no IPv6 address"),  # type: ignore[dict-item]
    ],
)
def test_what_no_guest_could_be_made_of(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match="Cannot add VM") as error:
        guest_init.check("web1", {"initialization": given}, "add VM")
    assert (error.value.code, words in error.value.reason) == ("vm.initialization", True), error.value.reason
    guest_init.check("web1", {"initialization": given, "os": {"type": "windows_2022"}}, "add VM")


def test_keys_with_options_and_all_kinds() -> None:
    keys = [
        KEY,
        'from="192.0.2.0/24",no-pty ssh-rsa AAAAB3NzaC1yc2E=',
        "sk-ssh-ed25519@openssh.com AAAA= token",
        "ecdsa-sha2-nistp256 AA",
    ]
    given = {"authorized_ssh_keys": "\r\n".join(keys)}
    guest_init.check("web1", {"initialization": given}, "add VM")
    assert guest_init.keys_of(given) == keys


@pytest.mark.images
@pytest.mark.parametrize("given", [RICH, {}, {"user_name": "ada", "dns_servers": "192.0.2.53"}], ids=("rich", "none", "dns"))
def test_cloud_init_itself_finds_it_valid(given: dict[str, Any]) -> None:
    """By the schemas of the cloud-init that is in the node image."""
    folders = sorted(CACHE.glob("os/node-*/root/usr/lib/python3/dist-packages/cloudinit/config/schemas"))
    if not folders:
        pytest.skip("the node image has not been built here")

    def schema(name: str) -> Any:
        return jsonschema.Draft4Validator(json.loads(Path(folders[-1], name).read_text()))

    _meta, user, network = seed(given)
    schema("schema-cloud-config-v1.json").validate(config_of(user))
    if network is not None:
        schema("schema-network-config-v2.json").validate(network)
    with pytest.raises(jsonschema.ValidationError):
        schema("schema-cloud-config-v1.json").validate({"ssh_authorized_keys": "no list"})
