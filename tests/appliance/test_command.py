"""The command line: exit codes, the shape of errors, help; and what a closed pipe or Ctrl-C does to it."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from appliance import command
from appliance.command import Command, Option, Output, main, require_root, table
from appliance.errors import Failed, Refused
from appliance.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def greet(arguments: argparse.Namespace, output: Output) -> None:
    output.progress(50, 1.25, "half way")
    output.log("a line")
    output.result({"name": arguments.name, "loud": arguments.loud}, f"hello {arguments.name}")


def refuse(arguments: argparse.Namespace, output: Output) -> None:
    raise Refused("greet.unknown", subject="nobody", reason="is not here", remedy="Call again.", facts={"asked": 1})


def fail(arguments: argparse.Namespace, output: Output) -> None:
    raise Failed("greet.broken", subject="voice", reason="is gone", remedy="Drink.")


def crash(arguments: argparse.Namespace, output: Output) -> None:
    raise KeyError("a defect")


def interrupt(arguments: argparse.Namespace, output: Output) -> None:
    raise KeyboardInterrupt


def own_code(arguments: argparse.Namespace, output: Output) -> int:
    return 7


def row(verb: str, run: object, options: tuple[Option, ...] = ()) -> Command:
    return Command(("greet", verb), f"{verb} somebody", f"trivet greet {verb}", run, options)  # type: ignore[arg-type]


NAME = (Option(("name",), "who"), Option(("--loud",), "shout", {"action": "store_true"}))
COMMANDS = (
    row("say", greet, NAME),
    row("refuse", refuse),
    row("fail", fail),
    row("crash", crash),
    row("interrupt", interrupt),
    row("code", own_code),
    row("pass", greet, (Option(("name",), "words", {"nargs": "+"}), NAME[1])),
    Command(("hail",), "hail somebody", "trivet hail you", greet, NAME),
)


@pytest.fixture(autouse=True)
def greetings(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("greetings_of_test")
    module.COMMANDS = COMMANDS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "greetings_of_test", module)
    nouns = {**command.NOUNS, "greet": ("greetings_of_test", "greetings"), "hail": ("greetings_of_test", "hailing")}
    monkeypatch.setattr(command, "NOUNS", nouns)


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


def test_a_result_for_people_is_on_stdout_and_progress_on_stderr() -> None:
    assert call("greet", "say", "you") == (0, "hello you\n", "[ 50 %]    1.2 s  half way\n           a line\n")


def test_with_json_stdout_is_one_document_and_stderr_an_object_a_line() -> None:
    code, out, err = call("greet", "say", "you", "--loud", "--json")
    assert (code, json.loads(out)) == (0, {"name": "you", "loud": True})
    assert [json.loads(line) for line in err.splitlines()] == [
        {"percent": 50, "elapsed_s": 1.2, "text": "half way"},
        {"log": "a line"},
    ]


def test_a_noun_may_be_a_command_itself() -> None:
    assert call("hail", "you")[:2] == (0, "hello you\n")


def test_a_command_may_choose_its_exit_code() -> None:
    assert call("greet", "code")[0] == 7


def test_refused_is_2_and_reads_as_sentences() -> None:
    assert call("greet", "refuse") == (2, "", "nobody: is not here\n  what helps: Call again.\n  code: greet.unknown\n")


def test_failed_is_1() -> None:
    assert call("greet", "fail")[0] == 1


def test_an_error_with_json_is_one_document_on_stdout() -> None:
    code, out, err = call("greet", "refuse", "--json")
    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "error": {
            "code": "greet.unknown",
            "object": "nobody",
            "reason": "is not here",
            "remedy": "Call again.",
            "facts": {"asked": 1},
        }
    }


@pytest.mark.parametrize(
    ("words", "code", "subject"),
    [
        (("dance",), "command.unknown", "trivet dance"),
        (("greet", "dance"), "command.usage", "trivet greet"),
        (("greet",), "command.usage", "trivet greet"),
        (("greet", "say"), "command.usage", "trivet greet say"),
        (("greet", "say", "you", "--lou"), "command.usage", "trivet greet"),
        (("greet", "say", "you", "--unknown"), "command.usage", "trivet greet"),
    ],
)
def test_a_wrong_command_line_is_refused(words: tuple[str, ...], code: str, subject: str) -> None:
    exit_code, out, err = call(*words, "--json")
    error = json.loads(out)["error"]
    assert (exit_code, error["code"], error["object"], err) == (2, code, subject, "")


def test_json_behind_two_dashes_belongs_to_the_command_that_is_passed_on() -> None:
    code, out, _ = call("greet", "pass", "--", "lsblk", "--json")
    assert (code, out) == (0, "hello ['lsblk', '--json']\n")


def test_an_unexpected_error_is_called_a_defect_and_keeps_its_trace() -> None:
    code, out, err = call("greet", "crash", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (1, "trivet.defect")
    assert "KeyError: 'a defect'" in err


def test_interrupted_is_1_and_says_how_to_go_on() -> None:
    assert call("greet", "interrupt") == (
        1,
        "",
        "trivet greet interrupt: it was interrupted\n"
        "  what helps: Run the same command again to go on.\n"
        "  code: command.interrupted\n",
    )


@pytest.mark.parametrize("words", [(), ("help",), ("--help",), ("-h",)])
def test_help_lists_every_noun(words: tuple[str, ...]) -> None:
    code, out, _ = call(*words)
    assert code == 0
    assert all(f"\n{noun} " in out and about in out for noun, (_, about) in command.NOUNS.items())
    assert "example:" in out


def test_help_of_a_command_shows_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["greet", "say", "--help"]) == 0
    assert "example:\n  trivet greet say" in capsys.readouterr().out


def test_the_version() -> None:
    assert call("--version") == (0, f"trivet {VERSION}\n", "")
    assert json.loads(call("--version", "--json")[1]) == {"version": VERSION}


def test_a_table_has_straight_columns() -> None:
    assert table(("name", "n"), [("a", 1), ("longer", 22)]) == "name    n\na       1\nlonger  22"


def test_root_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="needs root"):
        require_root()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    require_root()


def test_the_launcher_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "trivet", "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"trivet {VERSION}\n", "")


def test_the_folder_one_stands_in_cannot_change_what_is_imported(tmp_path: Path) -> None:
    (tmp_path / "appliance.py").write_text("raise SystemExit('imported from the current folder')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "trivet", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_launcher_without_its_environment_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "trivet").write_bytes((ROOT / "trivet").read_bytes())
    (tmp_path / "trivet").chmod(0o755)
    done = subprocess.run([tmp_path / "trivet"], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Run `make dev` first" in done.stderr


def test_a_reader_that_goes_away_is_no_defect() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.Popen([ROOT / "trivet", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (1, "")


def test_ctrl_c_in_a_real_process() -> None:
    script = (
        f"import signal, sys, types, time; sys.path.insert(0, {str(ROOT)!r})\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell in the background hands down "ignore"
        "from appliance import command\n"
        "def run(arguments, output): print('ready', flush=True); time.sleep(60)\n"
        "module = types.ModuleType('m'); sys.modules['m'] = module\n"
        "module.COMMANDS = (command.Command(('nap',), 's', 'trivet nap', run),)\n"
        "command.NOUNS = {'nap': ('m', 'napping')}\n"
        "sys.exit(command.main(['nap']))\n"
    )
    child = subprocess.Popen([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "code: command.interrupted" in err
