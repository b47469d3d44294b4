"""What the build takes from its machine: Debian mirrors, proxies, pip's settings. None of it goes into an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from image.mirrors import Mirrors, choose_mirrors, parse_sources

APT = Path("/etc/apt")
PASSED_ON_PREFIXES = ("PIP_",)
PASSED_ON = frozenset(
    (
        "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "XDG_CONFIG_HOME",
    )
)  # fmt: skip
"""Variables by which an administrator says how the network is reached; pip, apt and debootstrap honour them."""


def network_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of ``environment`` that tells package tools how to reach the network."""
    return {name: value for name, value in environment.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)}


def mirrors(apt: Path = APT) -> Mirrors:
    """This machine's Debian mirrors. Raises ``Refused`` (``image.mirror-missing``)."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    readable = [path for path in files if path.suffix in (".list", ".sources") and path.is_file()]
    return choose_mirrors(parse_sources({path.name: path.read_text() for path in readable}))
