from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from appliance import pki
from appliance.errors import Refused

NOW = 1_800_000_000.0
SANS = ("node1", "198.18.0.11")


@pytest.fixture(scope="module")
def ca() -> pki.Authority:
    return pki.create_ca("cluster-id", "lab", NOW)


def code_of(call: object) -> str:
    assert callable(call)
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


def test_a_signed_request_names_member_cluster_and_unit(ca: pki.Authority) -> None:
    key = pki.create_key()
    signed = pki.sign_csr(ca, pki.create_csr(key, "node1", SANS), "node", name="node1", sans=SANS, now_wall_s=NOW)
    subject = pki.verify_member(signed, ca.certificate_pem, key)
    assert (subject.name, subject.cluster_id, subject.unit) == ("node1", "cluster-id", "node")
    assert set(subject.sans) == set(SANS)
    assert subject.not_after_wall_s == NOW + pki.MEMBER_DAYS * 86400


def test_a_request_for_another_name_or_address_is_refused(ca: pki.Authority) -> None:
    csr = pki.create_csr(pki.create_key(), "node1", SANS)
    for name, sans in (("node2", SANS), ("node1", ("node1", "198.18.0.12")), ("node1", ("node1",))):
        assert code_of(lambda n=name, s=sans: pki.sign_csr(ca, csr, "node", name=n, sans=s, now_wall_s=NOW)) == (
            "pki.request-other"
        )


def test_garbage_and_foreign_certificates_are_refused(ca: pki.Authority) -> None:
    key = pki.create_key()
    csr = pki.create_csr(key, "node1", SANS)
    signed = pki.sign_csr(ca, csr, "node", name="node1", sans=SANS, now_wall_s=NOW)
    other = pki.create_ca("other-id", "lab", NOW)
    twin = pki.create_ca("cluster-id", "lab", NOW)
    assert code_of(lambda: pki.sign_csr(ca, "garbage", "node", name="a", sans=(), now_wall_s=NOW)) == "pki.request-invalid"
    assert code_of(lambda: pki.verify_member("garbage", ca.certificate_pem, key)) == "pki.certificate-invalid"
    assert code_of(lambda: pki.verify_member(signed, other.certificate_pem, key)) == "pki.certificate-foreign"
    assert code_of(lambda: pki.verify_member(signed, twin.certificate_pem, key)) == "pki.certificate-foreign"
    assert code_of(lambda: pki.verify_member(signed, ca.certificate_pem, pki.create_key())) == "pki.certificate-key"


def test_certificates_begin_before_a_clock_that_is_a_zone_behind(ca: pki.Authority) -> None:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(ca.certificate_pem.encode())
    assert NOW - certificate.not_valid_before_utc.timestamp() > 24 * 3600


def test_the_fingerprint_is_that_of_the_der_form() -> None:
    pem = pki.self_signed(pki.create_key(), "node1", NOW)
    import hashlib

    assert pki.fingerprint(pem) == hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_the_strict_verification_of_newer_pythons_accepts_them(tmp_path: Path) -> None:
    """A handshake in memory with VERIFY_X509_STRICT on both ends, which Python 3.13 has by default."""
    now = time.time()
    ca = pki.create_ca("cluster-id", "lab", now)
    key = pki.create_key()
    csr = pki.create_csr(key, "node1", SANS)
    signed = pki.sign_csr(ca, csr, "node", name="node1", sans=SANS, now_wall_s=now)
    for name, text in (("ca", ca.certificate_pem), ("key", key), ("cert", signed)):
        (tmp_path / name).write_text(text)
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(protocol)
        context.load_verify_locations(tmp_path / "ca")
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        contexts.append(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = contexts[0].wrap_bio(to_server, to_client, server_side=True)
    client = contexts[1].wrap_bio(to_client, to_server, server_hostname="198.18.0.11")
    done: set[int] = set()
    for _ in range(10):
        for end in (client, server):
            try:
                end.do_handshake()
                done.add(id(end))
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2
    assert server.getpeercert()["subject"] == client.getpeercert()["subject"]
