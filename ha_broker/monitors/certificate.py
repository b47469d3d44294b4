"""Until when a certificate is valid: the one date that the broker needs, without a library of 8 MiB for it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""DER's UTCTime and GeneralizedTime, as RFC 5280 lets certificates use them."""
SEQUENCE = 0x30


def valid_until(path: Path) -> float:
    """Seconds since 1970. Raises ``OSError``, ``ValueError`` (it is no certificate)."""
    text = path.read_text()
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if begin < 0 or end < 0:
        raise ValueError(f"{path} holds no certificate")
    return not_after(ssl.PEM_cert_to_DER_cert(text[begin : end + len("-----END CERTIFICATE-----")]))


def not_after(der: bytes) -> float:
    """Of a DER certificate: Certificate → TBSCertificate → validity → the second of its two times."""
    try:
        signed = _inside(_inside(der))
        fields = _parts(signed)
        validity = next(body for tag, body in fields[2:] if tag == SEQUENCE and _parts(body)[0][0] in TIMES)
        tag, body = _parts(validity)[1]
        return datetime.strptime(body.decode("ascii"), TIMES[tag]).replace(tzinfo=UTC).timestamp()
    except (IndexError, KeyError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError(f"it is no certificate ({error})") from error


def _inside(data: bytes) -> bytes:
    return _parts(data)[0][1]


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and body of each element in ``data``."""
    found = []
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise IndexError("an element is cut off")
        found.append((tag, data[at : at + length]))
        at += length
    return found
