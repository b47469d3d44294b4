"""Every row of every command table: an example that parses, help that shows it, --json."""

from __future__ import annotations

import importlib
import shlex

import pytest

from appliance.command import MORE, NOUNS, Command, _parser, commands_of, main

MODULES = sorted({module for module, _ in NOUNS.values()} | {module for more in MORE.values() for module in more})


def rows() -> list[Command]:
    found: dict[tuple[str, ...], Command] = {}
    for name in MODULES:
        for row in importlib.import_module(name).COMMANDS:
            assert row.path not in found, f"{name} has `trivet {' '.join(row.path)}` twice."
            found[row.path] = row
    return list(found.values())


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_has_commands(noun: str) -> None:
    module = NOUNS[noun][0]
    verbs = [row for row in importlib.import_module(module).COMMANDS if row.path[0] == noun]
    assert verbs, f"`trivet {noun}` is promised by appliance/command.py, but {module}.COMMANDS has no row for it."


def test_no_command_is_out_of_reach() -> None:
    lost = [row.path for row in rows() if row.path[0] not in NOUNS or len(row.path) > 2]
    assert not lost, f"A path is a noun of appliance.command.NOUNS and at most one verb: {lost}"


def test_every_command_says_what_it_does() -> None:
    found = [row.path for row in rows() if len(row.summary) < 10 or any(len(option.help) < 3 for option in row.options)]
    assert not found, f"Write the summary and the help of each option: {found}"


def test_the_example_of_a_command_parses_with_and_without_json() -> None:
    for row in rows():
        words = shlex.split(row.example)
        begin = len(row.path) + 1
        assert words[:begin] == ["trivet", *row.path], f"An example begins with its command: {row.example!r}"
        parser = _parser(commands_of(row.path[0]), row.path[0])
        for json_words in ([], ["--json"]):
            arguments = parser.parse_args([*row.path[1:], *json_words, *words[begin:]])
            assert arguments.command is row
            assert arguments.json is bool(json_words or "--json" in words)


def test_help_works_for_every_command_and_prints_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    for row in rows():
        assert main([*row.path, "--help"]) == 0
        printed = capsys.readouterr().out
        assert row.example in printed, f"`trivet {' '.join(row.path)} --help` does not show its example."
