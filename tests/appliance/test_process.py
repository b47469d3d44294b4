"""Real processes: the deadline ends everything they started, and every way of failing has its own code."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from appliance.effects import process
from appliance.effects.process import Completed, SystemProcesses, failure, pasteable
from appliance.errors import Failed, Unavailable

RUN = SystemProcesses()
APPEARS_WITHIN_S = 10.0


def wait_for(path: Path) -> str:
    """The text of ``path`` once a child has written a whole line there."""
    until = time.monotonic() + APPEARS_WITHIN_S
    while time.monotonic() < until:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")


def is_running(pid: int) -> bool:
    """Whether ``pid`` is there and not merely waiting for its parent to ask (a zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    until = time.monotonic() + APPEARS_WITHIN_S
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_running(pid)


def test_output_status_and_argv_come_back() -> None:
    done = RUN.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=10, ok=(0, 3))
    assert done == Completed(("sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n", "err\n")


def test_any_status_is_accepted_on_request() -> None:
    assert RUN.run(["false"], timeout_s=10, ok=None).status == 1


def test_stdin_is_what_was_given_or_nothing() -> None:
    assert RUN.run(["cat"], timeout_s=10, stdin="täxt\n").stdout == "täxt\n"
    assert RUN.run(["cat"], timeout_s=10).stdout == ""


def test_a_child_gets_our_environment_and_not_the_callers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    done = RUN.run(["sh", "-c", "env; pwd"], timeout_s=10, env={"OURS": "1"}, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert {"LC_ALL=C.UTF-8", "OURS=1", f"PATH={process.BASE_ENVIRONMENT['PATH']}", str(tmp_path)} <= set(lines)
    assert not any(line.startswith(("LANG=", "SECRET_OF_THE_CALLER=")) for line in lines)


def test_bytes_that_are_no_text_do_not_break_the_reader() -> None:
    assert RUN.run(["printf", r"a\377b"], timeout_s=10).stdout == "a\ufffdb"
    lines: list[str] = []
    RUN.stream(["printf", r"a\377b\n"], timeout_s=10, line=lines.append)
    assert lines == ["a\ufffdb"]


def test_a_failure_can_be_pasted() -> None:
    with pytest.raises(Failed) as failed:
        RUN.run(["sh", "-c", "echo 'no such volume' >&2; exit 4"], timeout_s=10)
    error = failed.value
    assert (error.code, error.subject) == ("process.failed", "sh")
    assert error.reason == "ended with status 4: no such volume"
    assert error.remedy == "Run it by hand: sh -c 'echo '\"'\"'no such volume'\"'\"' >&2; exit 4'"
    assert error.facts["status"] == 4


def test_a_signal_is_told_apart_from_a_status() -> None:
    with pytest.raises(Failed, match="was ended by signal 9: it said nothing"):
        RUN.run(["sh", "-c", "kill -9 $$"], timeout_s=10)


def test_only_the_last_words_are_kept() -> None:
    error = failure(Completed(("tool",), 1, "", "x" * 10_000 + "the end"))
    assert error.reason.endswith("the end")
    assert len(error.reason) < process.STDERR_TAIL_CHARACTERS + 100


def test_a_missing_program_names_itself() -> None:
    for start in (RUN.run, lambda argv, timeout_s: RUN.stream(argv, timeout_s=timeout_s, line=print)):
        with pytest.raises(Failed) as failed:
            start(["no-such-program-of-trivet", "x"], timeout_s=10)
        assert (failed.value.code, failed.value.subject) == ("process.missing", "no-such-program-of-trivet")


def test_a_missing_folder_is_not_mistaken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed:
        RUN.run(["true"], timeout_s=10, cwd=tmp_path / "gone")
    assert (failed.value.code, failed.value.subject) == ("process.no-folder", str(tmp_path / "gone"))


def test_a_file_that_is_no_program_is_refused_by_the_system(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Failed) as failed:
        RUN.run([str(tmp_path / "text")], timeout_s=10)
    assert failed.value.code == "process.not-started"
    assert "Permission denied" in failed.value.reason


FAMILY = """
trap '' TERM
sh -c 'trap "" TERM; sleep 300 & echo $! >"$1/grandchild"; wait' _ "$1" &
echo $! >"$1/child"
wait
"""
"""A shell with a child and a grandchild, none of which minds SIGTERM; the grandchild holds the output open."""


@pytest.mark.parametrize("streamed", [False, True])
def test_the_deadline_ends_child_and_grandchildren(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    monkeypatch.setattr(process, "KILL_GRACE_S", 0.2)
    argv = ["sh", "-c", FAMILY, "_", str(tmp_path)]
    began = time.monotonic()
    with pytest.raises(Unavailable) as late:
        if streamed:
            RUN.stream(argv, timeout_s=1.0, line=print)
        else:
            RUN.run(argv, timeout_s=1.0)
    assert time.monotonic() - began < 8
    assert (late.value.code, late.value.facts["ended"]) == ("process.deadline", True)
    assert "did not finish within 1 s" in late.value.reason
    for name in ("child", "grandchild"):
        assert gone(int(wait_for(tmp_path / name))), f"the {name} outlived the deadline"


def test_whoever_listens_to_sigterm_may_clean_up(tmp_path: Path) -> None:
    script = f"trap 'echo cleaned >{tmp_path}/word; exit 1' TERM; sleep 300 & wait"
    with pytest.raises(Unavailable):
        RUN.run(["sh", "-c", script], timeout_s=0.5)
    assert (tmp_path / "word").read_text() == "cleaned\n"


def test_a_stream_ends_at_its_deadline_though_a_stranger_holds_its_output(tmp_path: Path) -> None:
    escape = f"setsid sh -c 'echo $$ >{tmp_path}/escaped; exec sleep 300' & exit 0"
    began = time.monotonic()
    with pytest.raises(Unavailable):
        RUN.stream(["sh", "-c", escape], timeout_s=1.0, line=print)
    assert time.monotonic() - began < 8
    os.kill(int(wait_for(tmp_path / "escaped")), 9)


def test_a_process_that_the_kernel_holds_does_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []
    monkeypatch.setattr(process, "KILL_GRACE_S", 0.05)
    monkeypatch.setattr(process, "KILL_WAIT_S", 0.05)
    real_killpg = os.killpg
    monkeypatch.setattr(os, "killpg", lambda group, number: signals.append(group))
    with pytest.raises(Unavailable) as late:
        RUN.run(["sleep", "300"], timeout_s=0.1)
    real_killpg(signals[0], 9)
    assert late.value.facts["ended"] is False
    assert "hangs in the kernel" in late.value.reason


def test_lines_arrive_while_the_tool_still_runs() -> None:
    arrived: list[tuple[float, str]] = []
    began = time.monotonic()
    RUN.stream(
        ["sh", "-c", "echo one; echo two >&2; sleep 1; printf 'three\\r\\nfour'"],
        timeout_s=10,
        line=lambda text: arrived.append((time.monotonic() - began, text)),
    )
    assert [text for _, text in arrived] == ["one", "two", "three", "four"]
    assert arrived[0][0] < 0.9 < arrived[2][0]


def test_a_character_cut_in_two_by_the_pipe_is_whole_again() -> None:
    script = "import os,time; os.write(1, b'\\xc3'); time.sleep(0.2); os.write(1, b'\\xa9\\n')"
    lines: list[str] = []
    RUN.stream([sys.executable, "-c", script], timeout_s=10, line=lines.append)
    assert lines == ["é"]


def test_a_failing_stream_tells_the_tools_last_words() -> None:
    with pytest.raises(Failed) as failed:
        RUN.stream(["sh", "-c", "seq 100; echo broken; exit 2"], timeout_s=10, line=lambda text: None)
    assert failed.value.reason.startswith("ended with status 2: ")
    assert failed.value.reason.endswith("100\nbroken")
    assert "\n50\n" not in failed.value.reason


def test_a_listener_that_raises_ends_the_tool(tmp_path: Path) -> None:
    def listener(text: str) -> None:
        raise RuntimeError(text)

    with pytest.raises(RuntimeError) as raised:
        RUN.stream(["sh", "-c", "echo $$; exec sleep 300"], timeout_s=20, line=listener)
    assert gone(int(str(raised.value)))


def test_pasteable_quotes_what_a_shell_would_split() -> None:
    assert pasteable(["virsh", "domblkinfo", "a b", "$x"]) == "virsh domblkinfo 'a b' '$x'"
