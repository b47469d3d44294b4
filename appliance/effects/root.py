"""Where the file system of the node begins: ``/`` on a node, a folder in a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Root:
    """Gives every absolute path of :mod:`appliance.layout` its place."""

    path: Path = Path("/")

    def at(self, path: Path | str) -> Path:
        """``path`` below this root."""
        return self.path / str(path).lstrip("/")
