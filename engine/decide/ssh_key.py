"""A person's public key for ssh, as v4's ``content`` has it. Pure."""

from __future__ import annotations

import base64
import binascii

from appliance.errors import Refused

KINDS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
"""What Debian 13's sshd takes. DSA it no longer does."""
LIMIT_CHARACTERS = 4096
"""An RSA key of 16,384 bits, sshd's most, has 2,800."""
RSA_BITS = 2048
"""NIST SP 800-57: less is broken before its owner changes it. OpenSSH itself would take 1,024."""


def identity(content: str) -> str:
    """``kind base64``: what tells keys apart, without the comment. Raises ``Refused`` (``ssh-key.content``)."""
    text = content.strip()
    if len(text) > LIMIT_CHARACTERS or "\n" in text or "\r" in text or "\0" in text:
        raise _refused(f"it is not one line of at most {LIMIT_CHARACTERS} characters")
    words = text.split(None, 2)
    if len(words) < 2 or words[0] not in KINDS:
        raise _refused(f"it does not begin with a kind of key that is known ({', '.join(KINDS)}); options are not taken")
    kind, coded = words[:2]
    try:
        parts = _parts(base64.b64decode(coded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise _refused("what stands behind its kind is no key") from error
    if len(parts) < 2 or parts[0] != kind.encode():
        raise _refused(f"it is a key of another kind than {kind}")
    if kind == "ssh-rsa" and (len(parts) != 3 or int.from_bytes(parts[2]).bit_length() < RSA_BITS):
        raise _refused(f"it is an RSA key of fewer than {RSA_BITS} bits")
    return f"{kind} {base64.b64encode(base64.b64decode(coded)).decode()}"


def _parts(data: bytes) -> list[bytes]:
    """The strings that a key's binary form consists of (RFC 4253). Raises ``ValueError``."""
    found = []
    while data:
        length = int.from_bytes(data[:4])
        if len(data) < 4 + length:
            raise ValueError("it is cut off")
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found


def _refused(reason: str) -> Refused:
    remedy = "Send the one line of the .pub file, for instance of `ssh-keygen -t ed25519`."
    return Refused("ssh-key.content", subject="SshPublicKey [content]", reason=reason, remedy=remedy)
