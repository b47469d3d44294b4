"""The door of the messages' configuration: every mistake is named, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import NotFound, Refused
from ha_broker.notify.config import Mail, Webhook, read_secret, read_settings

GOOD = """
[mail]
server = "mail.example.com"
sender = "trivet@example.com"
to = ["ops@example.com", "boss@example.com"]

[[webhook]]
url = "https://chat.example.com/hooks/abc"
"""


def refusal(folder: Path, text: str) -> Refused:
    (folder / "notify.toml").write_text(text)
    with pytest.raises(Refused) as caught:
        read_settings(folder / "notify.toml")
    return caught.value


def test_good_settings(tmp_path: Path) -> None:
    (tmp_path / "notify.toml").write_text(GOOD)
    found = read_settings(tmp_path / "notify.toml")
    assert found.mail == Mail("mail.example.com", "trivet@example.com", ("ops@example.com", "boss@example.com"))
    assert found.mail is not None and (found.mail.port_used, found.mail.security) == (587, "starttls")
    assert found.webhook == (Webhook("https://chat.example.com/hooks/abc"),)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[mail]", "[mail", "is no TOML"),
        (GOOD, "", "neither [mail] nor a [[webhook]]"),
        ('server = "mail.example.com"', "", "'mail.server' is missing"),
        ('"mail.example.com"', '"mail example"', "needs a name or an address"),
        ('"mail.example.com"', '"m"\nport = 70000', "needs 1 to 65535"),
        ('"mail.example.com"', '"m"\nport = "25"', "must be a whole number"),
        ('"mail.example.com"', '"m"\nsecurity = "ssl"', "must be one of 'starttls', 'tls', 'none'"),
        ('"mail.example.com"', '"m"\nusre = "x"', "'mail.usre' is unknown"),
        ('"mail.example.com"', '"m"\nuser = "x"', "go together"),
        ('"mail.example.com"', '"m"\nuser = "x"\npassword_file = "/x"\nsecurity = "none"', "not sent without TLS"),
        ('["ops@example.com", "boss@example.com"]', "[]", "names nobody"),
        ('"boss@example.com"', '"boss"', "'boss' is no mail address"),
        ('"boss@example.com"', '"a@b\\nBcc: c@d"', "is no mail address"),
        ("https://chat", "http://chat", "has to be https://"),
        ("https://chat", "chat", "has to be https://"),
        ("chat.example.com/hooks/abc", ":1/secret", "has to be https://"),
        ("chat.example.com/hooks/abc", "a:99999/secret", "has to be https://"),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path: Path, old: str, new: str, said: str) -> None:
    error = refusal(tmp_path, GOOD.replace(old, new))
    assert error.code == "notify.config"
    assert said in error.reason
    assert "secret" not in error.reason


def test_no_settings(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        read_settings(tmp_path / "notify.toml")
    assert caught.value.code == "notify.not-configured"
    (tmp_path / "folder").mkdir()
    assert "cannot be read" in refusal_of(tmp_path / "folder").reason


def refusal_of(path: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        read_settings(path)
    return caught.value


def test_secrets_are_private_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content, mode, said in (
        ("s3", 0o640, "others may read it (mode 640)"),
        ("", 0o600, "empty"),
        ("\n", 0o600, "empty"),
    ):
        file.write_text(content)
        file.chmod(mode)
        with pytest.raises(Refused) as caught:
            read_secret(str(file))
        assert (caught.value.code, said in caught.value.reason) == ("notify.secret", True)
    file.unlink()
    with pytest.raises(Refused, match="cannot be read"):
        read_secret(str(file))
    file.write_bytes(b"s3cret words\r\nmore\n")
    file.chmod(0o600)
    assert read_secret(str(file)) == "s3cret words"
