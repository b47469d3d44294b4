"""As much of HTTP/1.1 as a page without forms needs: one request a connection, headers read and forgotten. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

REQUEST_LIMIT_BYTES = 8192
"""Request line and headers together: browsers send about 700 bytes."""
END_OF_HEADERS = b"\r\n\r\n"

REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    505: "HTTP Version Not Supported",
}

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/(\d)\.(\d)")
"""Printable ASCII in the path; an absolute URI is for proxies."""


@dataclass(frozen=True)
class Request:
    """What was asked for. ``path`` is without its query."""

    method: str
    path: str


@dataclass(frozen=True)
class Answer:
    """What is answered. ``kind`` is its media type."""

    status: int
    body: str = ""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def parse(data: bytes) -> Request | Answer:
    """The request in the bytes that came before the empty line, or the answer that says what is wrong with it."""
    if len(data) > REQUEST_LIMIT_BYTES:
        return Answer(431, f"a request here has at most {REQUEST_LIMIT_BYTES} bytes\n")
    found = _REQUEST_LINE.fullmatch(data.partition(b"\r\n")[0])
    if found is None:
        return Answer(400, "that is no request of HTTP/1.1\n")
    if found[3] != b"1":
        return Answer(505, "HTTP/1.1 is spoken here\n")
    if found[1] not in (b"GET", b"HEAD"):
        return Answer(405, "this page can only be read\n", headers={"Allow": "GET, HEAD"})
    return Request(found[1].decode(), found[2].decode().partition("?")[0])


def to_bytes(answer: Answer, with_body: bool, wall_s: float) -> bytes:
    """The answer on the wire; ``with_body`` is false for HEAD. No header may hold a line break: ``ValueError``."""
    body = answer.body.encode()
    headers = {
        "Date": formatdate(wall_s, usegmt=True),
        "Content-Type": answer.kind,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status} {REASONS[answer.status]}", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header with a line break")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body if with_body else b"")
