"""What a broker is told of its own node: certificate, space for its notes, CPU models."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from appliance import layout
from appliance.effects.clock import FakeClock
from appliance.errors import Refused, Unavailable
from appliance.tools.capabilities import usable_cpu_models
from appliance.verbs.epoch import StaleCalls
from ha_broker.monitors.certificate import not_after, valid_until
from ha_broker.monitors.host import NodeHost

CAPABILITIES = Path(__file__).parents[1] / "data" / "domcapabilities-qemu.xml"


def certificate(path: Path, until: datetime.datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node1")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize("year", [2027, 2049, 2060])
def test_until_when_a_certificate_is_valid(tmp_path: Path, year: int) -> None:
    """2049 is the last year of the short form of a date, 2060 is written in the long one."""
    until = datetime.datetime(year, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
    certificate(tmp_path / "node.pem", until)
    assert valid_until(tmp_path / "node.pem") == until.timestamp()


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff", b"\x30\x00", b"garbage"])
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        not_after(data)


def test_days_left(tmp_path: Path) -> None:
    path = tmp_path / "node.pem"
    clock = FakeClock()
    host = NodeHost(tmp_path, certificate=path, clock=clock)
    assert host.facts().certificate_days_left == 365.0
    until = datetime.datetime.fromtimestamp(round(clock.wall_s()), datetime.UTC) + datetime.timedelta(days=3)
    certificate(path, until)
    assert host.facts().certificate_days_left == pytest.approx(3.0, abs=0.01)
    clock.sleep(4 * 86_400)
    assert host.facts().certificate_days_left == pytest.approx(-1.0, abs=0.01)
    path.write_text("nothing of the kind")
    assert host.facts().certificate_days_left == 365.0


def test_the_cpu_model_is_asked_for_once(tmp_path: Path) -> None:
    asked: list[bool] = []

    def models(accelerated: bool) -> frozenset[str]:
        asked.append(accelerated)
        return frozenset({"qemu64"})

    host = NodeHost(tmp_path, certificate=tmp_path / "none", cpu_models=models)
    assert host.facts().cpu_error == ""
    host.verify()
    assert host.facts().cpu_error == "its QEMU cannot offer the CPU model Nehalem, which the engine VM needs"
    assert asked == [not host.facts().emulated]


def test_a_silent_libvirt_is_no_cpu_error(tmp_path: Path) -> None:
    def models(accelerated: bool) -> frozenset[str]:
        raise Unavailable("libvirt.unavailable", subject="libvirt", reason="no answer", remedy="-")

    host = NodeHost(tmp_path, certificate=tmp_path / "none", cpu_models=models)
    host.verify()
    assert host.facts().cpu_error == ""


def test_usable_models_as_libvirt_tells_them() -> None:
    found = usable_cpu_models(CAPABILITIES.read_text())
    assert layout.GUEST_CPU_MODEL in found
    assert "Nehalem-IBRS" not in found
    with pytest.raises(Refused) as caught:
        usable_cpu_models("not XML")
    assert caught.value.code == "libvirt.capabilities"


def test_an_engine_that_the_agent_refused_is_a_fact_of_the_host(tmp_path: Path) -> None:
    """Fault 46: noted by the agent, told by the broker."""
    calls = StaleCalls(tmp_path / "stale-call.json", FakeClock())
    host = NodeHost(tmp_path, certificate=tmp_path / "none", stale_calls=calls)
    assert host.facts().stale_call is None
    calls.note("engine", 4, 5)
    found = host.facts().stale_call
    assert found is not None
    assert (found.caller, found.epoch, found.highest) == ("engine", 4, 5)
