"""Recordings of real Gluster commands, and process ports that answer with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.effects.process import Completed
from appliance.errors import TrivetError

DATA = Path(__file__).parents[1] / "data" / "gluster"
VERSIONS = tuple(sorted(folder.name for folder in DATA.iterdir() if folder.is_dir()))


def recorded(case: str, name: str, version: str = "11.1") -> str:
    """What Gluster ``version`` printed for command ``name`` in situation ``case``."""
    return (DATA / version / case / f"{name}.xml").read_text()


def command_name(argv: Sequence[str]) -> str:
    """The recording that belongs to a command line."""
    words = [word for word in argv[1:] if not word.startswith("--")]
    if words[:2] == ["volume", "heal"]:
        return f"heal_info_summary_{words[2]}"
    return {"pool list": "pool_list", "volume info": "volume_info", "volume status all detail": "volume_status_detail"}[
        " ".join(words)
    ]


@dataclass
class Scripted:
    """A process port: answers Gluster's reading commands from the recordings of ``case``, others from ``answers``.

    ``errors`` maps the beginning of a command (without options) to what is raised instead.
    """

    case: str = "healthy"
    answers: dict[str, Completed] = field(default_factory=dict)
    errors: dict[str, TrivetError] = field(default_factory=dict)
    calls: list[tuple[tuple[str, ...], float]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ok: Sequence[int] | None = (0,),
    ) -> Completed:
        self.calls.append((tuple(argv), timeout_s))
        plain = " ".join(word for word in argv if not word.startswith("--"))
        for begin, error in self.errors.items():
            if plain.startswith(begin):
                raise error
        for begin, answer in self.answers.items():
            if plain.startswith(begin):
                return answer
        if argv[0] == "df":
            return Completed(tuple(argv), 1, "", "df: no such file or directory")
        return Completed(tuple(argv), 0, recorded(self.case, command_name(argv)), "")

    def stream(self, *_arguments: object, **_settings: object) -> int:
        raise AssertionError("Gluster is never streamed")
