"""The cluster's certificates: one CA, a certificate for each node and for the engine, nothing else.

X.509 v3, EC P-256 with SHA-256: accepted by OpenSSL (Python's strict mode of 3.13 included) and by GnuTLS (libvirt, QEMU).
Subjects: CN is the member's name, O the cluster's id, OU ``node`` or ``engine``; the agents judge callers by O and OU.
Everything is PEM text in and out. The library is imported inside the functions: it costs 12 MiB that an idle agent saves.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from appliance.errors import Refused

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

Unit = Literal["node", "engine"]

CA_DAYS = 3650
"""Ten years: the life of the hardware. A CA that ends earlier takes the whole cluster down on one day."""
MEMBER_DAYS = 397
"""Thirteen months: a renewal each year has a month's grace."""
BARE_DAYS = 3650
"""The self-signed certificate of a bare node is pinned by fingerprint; its end means nothing."""
BACKDATED_HOURS = 26
"""Before NTP works nodes' clocks differ by a time zone at worst (set to local time): certificates begin earlier."""


@dataclass(frozen=True)
class Authority:
    """The CA: its certificate, which everybody has, and its key, which the installing node and the engine have."""

    certificate_pem: str
    key_pem: str


@dataclass(frozen=True)
class Subject:
    """Whom a certificate names. ``sans`` are DNS names and addresses as text."""

    name: str
    cluster_id: str
    unit: str
    sans: tuple[str, ...]
    not_after_wall_s: float


def create_ca(cluster_id: str, name: str, now_wall_s: float) -> Authority:
    """A new CA for the cluster ``name``. ``now_wall_s`` is the clock's wall time."""
    from cryptography import x509

    key = _new_key()
    subject = _x509_name(f"Trivet cluster {name}", cluster_id, "ca")
    builder = _builder(subject, subject, key.public_key(), now_wall_s, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return Authority(_certificate_text(builder, key, key.public_key()), _key_text(key))


def create_key() -> str:
    """A new private key (PEM, PKCS#8, unencrypted: it lives in a 0600 file)."""
    return _key_text(_new_key())


def create_csr(key_pem: str, name: str, sans: Sequence[str]) -> str:
    """A signing request for CN=``name`` with ``sans`` (names and addresses)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    request = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    )
    request = request.add_extension(x509.SubjectAlternativeName(_general_names(sans)), critical=False)
    return request.sign(_load_key(key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def sign_csr(
    ca: Authority,
    csr_pem: str,
    unit: Unit,
    *,
    name: str,
    sans: Sequence[str],
    now_wall_s: float,
    days: int = MEMBER_DAYS,
) -> str:
    """The certificate for ``csr_pem``, if it asks for exactly ``name`` and ``sans``.

    Raises ``Refused``: ``pki.request-invalid`` (not a request, or its signature is wrong), ``pki.request-other`` (it asks
    for another name or address than expected: what the caller knows decides, never what the request wishes).
    """
    from cryptography import x509

    request = _load_request(csr_pem)
    asked = _request_names(request)
    if asked != (name, frozenset(sans)):
        raise Refused(
            "pki.request-other",
            subject=name,
            reason=f"the signing request names {asked[0]!r} with {sorted(asked[1])}, not {name!r} with {sorted(sans)}",
            remedy="Check that the address belongs to that node, then join it again.",
        )
    authority = x509.load_pem_x509_certificate(ca.certificate_pem.encode())
    cluster_id = _attribute(authority.subject, x509.NameOID.ORGANIZATION_NAME)
    public: Any = request.public_key()
    builder = _builder(_x509_name(name, cluster_id, unit), authority.subject, public, now_wall_s, days)
    builder = _leaf_extensions(builder, sans)
    return _certificate_text(builder, _load_key(ca.key_pem), authority.public_key())


def self_signed(key_pem: str, name: str, now_wall_s: float) -> str:
    """The certificate of a bare node: proves nothing by itself, is pinned by :func:`fingerprint`."""
    key = _load_key(key_pem)
    subject = _x509_name(name, "bare", "bare")
    builder = _builder(subject, subject, key.public_key(), now_wall_s, BARE_DAYS)
    return _certificate_text(_leaf_extensions(builder, (name,)), key, key.public_key())


def fingerprint(certificate_pem: str) -> str:
    """SHA-256 of the certificate (DER), 64 hex digits."""
    import ssl

    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate_pem.strip() + "\n")).hexdigest()


def subject_of(certificate_pem: str) -> Subject:
    """Whom a certificate names. Raises ``Refused`` (``pki.certificate-invalid``)."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        sans = tuple(str(one.value) for one in names)
    except x509.ExtensionNotFound:
        sans = ()
    except ValueError as error:
        raise _not_a_certificate(error) from error
    oid = x509.NameOID
    return Subject(
        _attribute(certificate.subject, oid.COMMON_NAME),
        _attribute(certificate.subject, oid.ORGANIZATION_NAME),
        _attribute(certificate.subject, oid.ORGANIZATIONAL_UNIT_NAME),
        sans,
        certificate.not_valid_after_utc.timestamp(),
    )


def verify_member(certificate_pem: str, ca_pem: str, key_pem: str) -> Subject:
    """The subject of a certificate that ``ca_pem`` signed for ``key_pem``. Raises ``Refused`` when it is not so.

    Codes: ``pki.certificate-invalid``, ``pki.certificate-foreign`` (another CA), ``pki.certificate-key`` (another key).
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        authority = x509.load_pem_x509_certificate(ca_pem.encode())
        if certificate.issuer != authority.subject:
            raise _foreign("it was issued in another name than that of the CA beside it")
        certificate.verify_directly_issued_by(authority)
    except InvalidSignature as error:
        raise _foreign("it was not signed by the CA beside it") from error
    except (ValueError, TypeError) as error:
        raise _not_a_certificate(error) from error
    if certificate.public_key() != _load_key(key_pem).public_key():
        raise Refused(
            "pki.certificate-key",
            subject="certificate",
            reason="it belongs to another key than this node's",
            remedy="Ask the node for a new signing request and sign that.",
        )
    return subject_of(certificate_pem)


def _not_a_certificate(error: Exception) -> Refused:
    return Refused(
        "pki.certificate-invalid",
        subject="certificate",
        reason=f"it cannot be read ({error})",
        remedy="Give the PEM text of an X.509 certificate.",
    )


def _foreign(reason: str) -> Refused:
    return Refused(
        "pki.certificate-foreign", subject="certificate", reason=reason, remedy="Sign the request with this cluster's CA."
    )


def _load_request(csr_pem: str) -> x509.CertificateSigningRequest:
    from cryptography import x509

    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        valid = request.is_signature_valid
    except ValueError as error:
        raise _bad_request(str(error)) from error
    if not valid:
        raise _bad_request("its signature does not match its key")
    return request


def _bad_request(reason: str) -> Refused:
    return Refused(
        "pki.request-invalid", subject="signing request", reason=reason, remedy="Ask the node for a new signing request."
    )


def _request_names(request: x509.CertificateSigningRequest) -> tuple[str, frozenset[str]]:
    from cryptography import x509

    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return _attribute(request.subject, x509.NameOID.COMMON_NAME), frozenset()
    sans = frozenset(str(one.value) for one in names)
    return _attribute(request.subject, x509.NameOID.COMMON_NAME), sans


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _load_key(key_pem: str) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refused("pki.key", subject="private key", reason="it is not an EC key", remedy="Make one with create_key().")
    return key


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _x509_name(common: str, organization: str, unit: str) -> x509.Name:
    from cryptography import x509

    oid = x509.NameOID
    return x509.Name(
        [
            x509.NameAttribute(oid.ORGANIZATION_NAME, organization),
            x509.NameAttribute(oid.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(oid.COMMON_NAME, common),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now_wall_s: float, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.fromtimestamp(int(now_wall_s), datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=BACKDATED_HOURS))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _leaf_extensions(builder: x509.CertificateBuilder, sans: Sequence[str]) -> x509.CertificateBuilder:
    """What a member's certificate may do: be server and client of TLS, and nothing more."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(sans)), critical=False)
    )


def _general_names(sans: Sequence[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    names: list[x509.GeneralName] = []
    for san in sans:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(san)))
        except ValueError:
            names.append(x509.DNSName(san))
    return names


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_text(builder: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey, issuer_public: Any) -> str:
    """Sign, with the issuer's key named (authority key identifier: strict verifiers want it)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
