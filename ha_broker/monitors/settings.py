"""/etc/trivet/ha.toml: how this host's administrators want it to be scored."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from appliance.codec import decode
from appliance.errors import Refused
from ha_broker.state import ScoreSettings

SETTINGS_FILE = Path("/etc/trivet/ha.toml")


@dataclass(frozen=True)
class HaSettings:
    """The file. Every key may be left out."""

    score: ScoreSettings = field(default_factory=ScoreSettings)


class ScoreFile:
    """Reads the file again when it has changed; a change needs no restart of the broker."""

    def __init__(self, path: Path = SETTINGS_FILE) -> None:
        self._path = path
        self._read_from: tuple[int, int] | None = None
        self._known = (ScoreSettings(), "")

    def read(self) -> tuple[ScoreSettings, str]:
        """The settings, and what is wrong with the file: then the defaults hold, because a typing mistake must not take a
        host out of service, nor put one into it silently."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._read_from, self._known = None, (ScoreSettings(), "")
            return self._known
        except OSError as error:
            return ScoreSettings(), f"{self._path} cannot be read: {error.strerror}"
        changed = (found.st_mtime_ns, found.st_ino)
        if changed != self._read_from:
            self._known, self._read_from = self._parse(), changed
        return self._known

    def _parse(self) -> tuple[ScoreSettings, str]:
        try:
            value = tomllib.loads(self._path.read_text())
            return decode(HaSettings, value, subject=str(self._path), code="ha.settings").score, ""
        except Refused as error:
            return ScoreSettings(), f"{self._path}: {error.reason}"
        except (OSError, ValueError) as error:
            return ScoreSettings(), f"{self._path} cannot be used: {error}"
