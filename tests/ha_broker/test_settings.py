"""/etc/trivet/ha.toml: read when it changes; a mistake in it changes nothing and is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ha_broker.monitors.settings import ScoreFile
from ha_broker.state import ScoreSettings


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert ScoreFile(tmp_path / "ha.toml").read() == (ScoreSettings(), "")


def test_it_is_read_anew_when_it_changes_or_goes(tmp_path: Path) -> None:
    file = tmp_path / "ha.toml"
    file.write_text("[score]\neligible = false\npreferred = 50\nload = 10\n")
    settings = ScoreFile(file)
    assert settings.read() == (ScoreSettings(eligible=False, preferred=50, load=10), "")
    file.write_text("[score]\npreferred = 60\n")
    os.utime(file, ns=(1, 1))
    assert settings.read() == (ScoreSettings(preferred=60), "")
    file.unlink()
    assert settings.read() == (ScoreSettings(), "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[score]\nelligible = false\n", "'score.elligible' is unknown"),
        ("[score]\neligible = 1\n", "must be true or false"),
        ("[scores]\n", "'scores' is unknown"),
        ("[score", "cannot be used"),
        ("\x00", "cannot be used"),
    ],
)
def test_a_mistake_is_told_and_the_defaults_hold(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "ha.toml").write_text(content)
    found, error = ScoreFile(tmp_path / "ha.toml").read()
    assert found == ScoreSettings()
    assert said in error


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "ha.toml").mkdir()
    assert "cannot be used" in ScoreFile(tmp_path / "ha.toml").read()[1]
    (tmp_path / "plain").touch()
    assert "cannot be read" in ScoreFile(tmp_path / "plain" / "ha.toml").read()[1]
