"""The command line: commands are rows of data, errors become sentences in one place.

Each package's ``cli.py`` holds a tuple ``COMMANDS`` of :class:`Command` and nothing else that parses arguments. ``main``
finds the package by the first word (the noun), so that ``trivet ha status`` imports nothing of the image builder.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TextIO, TypeVar

from appliance.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, Failed, Refused, TrivetError
from appliance.version import VERSION

NOUNS: Mapping[str, tuple[str, str]] = {
    "run": ("installer.cli", "three nodes on this machine, from nothing to a running engine"),
    "stop": ("installer.cli", "take the lab of this machine down, leaving nothing behind"),
    "status": ("installer.cli", "where the engine is, its address, CA and password file"),
    "install": ("installer.cli", "turn bare nodes into a cluster"),
    "image": ("image.cli", "build and verify the two images"),
    "lab": ("image.lab.cli", "real nodes on this machine: up, down, power, link, exec …"),
    "gluster": ("gluster.cli", "the storage pool"),
    "ha": ("ha_broker.cli", "the broker that keeps the engine VM alive"),
    "node": ("appliance.cli", "this node: facts, join token, certificates"),
    "agent": ("appliance.cli", "the node's agent: serve, and call one of its routes"),
    "engine": ("engine.cli", "inside the engine VM: its programs"),
}
"""First word → (module with ``COMMANDS``, what it is about). By name, because this package may import none of them."""

MORE: Mapping[str, tuple[str, ...]] = {"node": ("ha_broker.node_cli",)}
"""Nouns to which a package above adds verbs: maintenance of a node is the whole cluster's affair."""


def commands_of(noun: str) -> tuple[Command, ...]:
    """All rows of the modules that know ``noun``."""
    modules = (NOUNS[noun][0], *MORE.get(noun, ()))
    return tuple(row for name in modules for row in importlib.import_module(name).COMMANDS)


@dataclass(frozen=True)
class Option:
    """One argument of a command, as argparse takes it. A flag without dashes is positional."""

    flags: tuple[str, ...]
    help: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Output:
    """Where a command writes: its result on stdout, progress and log on stderr.

    With ``--json`` the result is one JSON document and progress is a JSON object a line.
    """

    def __init__(self, as_json: bool, stdout: TextIO, stderr: TextIO) -> None:
        self.as_json = as_json
        self._stdout = stdout
        self._stderr = stderr

    def result(self, data: object, text: str) -> None:
        """The answer of the command: ``data`` for programs, ``text`` for people."""
        print(json.dumps(data, indent=2, ensure_ascii=False) if self.as_json else text, file=self._stdout, flush=True)

    def terminal(self) -> os.terminal_size | None:
        """The size of the terminal that a person reads the result on; None: it is a file or a pipe."""
        if not self._stdout.isatty():
            return None
        try:
            return os.get_terminal_size(self._stdout.fileno())
        except OSError:  # a terminal that does not tell
            return os.terminal_size((80, 24))

    def write(self, text: str) -> None:
        """A piece of a result that goes on for as long as somebody watches."""
        self._stdout.write(text)
        self._stdout.flush()

    def progress(self, percent: float, elapsed_s: float, text: str) -> None:
        """How far long work has come."""
        if self.as_json:
            line = json.dumps({"percent": round(percent, 1), "elapsed_s": round(elapsed_s, 1), "text": text})
        else:
            line = f"[{percent:3.0f} %] {elapsed_s:6.1f} s  {text}"
        print(line, file=self._stderr, flush=True)

    def log(self, text: str) -> None:
        """A line of the live log."""
        print(json.dumps({"log": text}) if self.as_json else f"           {text}", file=self._stderr, flush=True)

    def error(self, error: TrivetError) -> None:
        """Why the command ended badly."""
        if self.as_json:
            print(json.dumps({"error": error.as_json()}, indent=2, ensure_ascii=False), file=self._stdout, flush=True)
        else:
            print(explain(error), file=self._stderr, flush=True)


@dataclass(frozen=True)
class Command:
    """One command: ``path`` is its words, ``example`` a line that works, ``run`` does it and may return an exit code."""

    path: tuple[str, ...]
    summary: str
    example: str
    run: Callable[[argparse.Namespace, Output], int | None]
    options: tuple[Option, ...] = ()


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns for people: left-aligned, as wide as their widest cell, two spaces between."""
    cells = [list(map(str, headings)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def explain(error: TrivetError) -> str:
    """The error as a person reads it on a terminal."""
    return f"{error.subject}: {error.reason}\n  what helps: {error.remedy}\n  code: {error.code}"


def require_root() -> None:
    """Raise ``Refused`` unless the process is root's."""
    if os.geteuid() != 0:
        raise Refused("command.not-root", subject="this command", reason="it needs root", remedy="Run it with sudo.")


def confirmed(word: str, given: str, warning: str) -> None:
    """Go on only if the person typed ``word``, beforehand (``given``) or when asked on the terminal.

    Raises ``Refused`` (``command.not-confirmed``).
    """
    typed = given
    if not given and sys.stdin.isatty():
        print(f"{warning}\nType {word} to go on: ", end="", file=sys.stderr, flush=True)
        typed = sys.stdin.readline().strip()
    if typed != word:
        raise Refused(
            "command.not-confirmed",
            subject="this command",
            reason=f"{warning} It needs the word {word}{f', not {typed}' if typed else ''}",
            remedy=f"Type it when asked, or give --confirm {word}.",
        )


class _Parser(argparse.ArgumentParser):
    """argparse with our errors, and without its guessing of shortened options: a guess of today is an error of tomorrow."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Refused(
            "command.usage", subject=self.prog, reason=message, remedy=f"`{self.prog} --help` shows how it is used."
        )


def _parser(commands: Sequence[Command], noun: str) -> _Parser:
    """The parser of one noun. Verbs are looked up here and not by nested subparsers, so that errors read the same."""
    alone = next((command for command in commands if command.path == (noun,)), None)
    if alone is not None:
        return _fill(_Parser(prog=f"trivet {noun}"), alone)
    parser = _Parser(prog=f"trivet {noun}", description=NOUNS[noun][1])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    for command in commands:
        if command.path[0] == noun:
            _fill(verbs.add_parser(" ".join(command.path[1:]), help=command.summary), command)
    return parser


P = TypeVar("P", bound=argparse.ArgumentParser)


def _fill(parser: P, command: Command) -> P:
    parser.description = command.summary
    parser.epilog = f"example:\n  {command.example}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="the result (and progress) for programs")
    for option in command.options:
        parser.add_argument(*option.flags, help=option.help, **dict(option.settings))
    parser.set_defaults(command=command)
    return parser


def overview() -> str:
    """What ``trivet --help`` prints."""
    rows = [(noun, about) for noun, (_, about) in NOUNS.items()]
    return (
        f"trivet {VERSION}: a hyperconverged virtualization appliance\n\nusage: trivet NOUN [VERB] [--json] [--help] …\n\n"
        f"{table(('noun', 'what'), rows)}\n\nexit codes: 0 done, 2 refused (nothing was changed), 1 failed\n"
        "example:\n  trivet ha status"
    )


def main(argv: Sequence[str] | None = None, stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
    """Run a command line and return its exit code. The one place that catches errors."""
    words = list(sys.argv[1:] if argv is None else argv)
    ours = words[: words.index("--")] if "--" in words else words  # what follows belongs to the command that is passed on
    output = Output("--json" in ours, stdout or sys.stdout, stderr or sys.stderr)
    try:
        return _dispatch(words, output)
    except TrivetError as error:
        output.error(error)
        return error.exit_code
    except BrokenPipeError:
        _forget_stdout()
        return EXIT_FAILED
    except KeyboardInterrupt:
        output.error(_interrupted(words))
        return EXIT_FAILED
    except Exception as error:  # the last resort: a defect of ours, named as one
        traceback.print_exc(file=stderr or sys.stderr)
        output.error(_defect(error))
        return EXIT_FAILED


def _forget_stdout() -> None:
    """The reader has gone (``trivet … | head``): point stdout at nothing, or Python complains again when it flushes."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def _interrupted(words: Sequence[str]) -> Failed:
    return Failed(
        "command.interrupted",
        subject=f"trivet {' '.join(words[:2])}",
        reason="it was interrupted",
        remedy="Run the same command again to go on.",
    )


def _defect(error: Exception) -> TrivetError:
    return TrivetError(
        "trivet.defect",
        subject="trivet",
        reason=f"an error that nobody expected: {type(error).__name__}: {error}",
        remedy="This is a defect of Trivet. Report it with the lines above.",
    )


def _dispatch(words: list[str], output: Output) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        output.result({"version": VERSION, "nouns": {noun: about for noun, (_, about) in NOUNS.items()}}, overview())
        return EXIT_DONE
    if words[0] == "--version":
        output.result({"version": VERSION}, f"trivet {VERSION}")
        return EXIT_DONE
    noun = words[0]
    if noun not in NOUNS:
        raise Refused(
            "command.unknown", subject=f"trivet {noun}", reason="there is no such noun", remedy="`trivet --help` lists them."
        )
    try:
        arguments = _parser(commands_of(noun), noun).parse_args(words[1:])
    except SystemExit as ended:  # argparse's way out of --help
        return EXIT_DONE if not ended.code else EXIT_REFUSED
    return arguments.command.run(arguments, output) or EXIT_DONE
