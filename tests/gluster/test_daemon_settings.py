"""Editing glusterd.vol."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.effects.process import Completed
from appliance.effects.root import Root
from appliance.errors import Failed
from gluster import verbs
from gluster.daemon_settings import DAEMON_FILE, DAEMON_SETTINGS, DROP_IN_FILE, with_settings
from tests.gluster.recorded import DATA, Scripted

SHIPPED = (DATA / "11.1" / "glusterd.vol").read_text()


def options(text: str) -> dict[str, str]:
    words = [line.split(None, 2) for line in text.splitlines() if line.strip().startswith("option")]
    return {name: value for _, name, value in words}


def test_sets_what_differs_and_adds_what_is_missing() -> None:
    edited = options(with_settings(SHIPPED))
    assert {name: edited[name] for name in DAEMON_SETTINGS} == dict(DAEMON_SETTINGS)


def test_keeps_comments_and_other_options() -> None:
    edited = with_settings(SHIPPED)
    assert "#   option lock-timer 180" in edited
    assert {name: value for name, value in options(edited).items() if name not in DAEMON_SETTINGS} == {
        name: value for name, value in options(SHIPPED).items() if name not in DAEMON_SETTINGS
    }
    assert edited.rstrip().endswith("end-volume")


def test_twice_is_once() -> None:
    assert with_settings(with_settings(SHIPPED)) == with_settings(SHIPPED)


def test_an_option_given_twice_is_given_once_afterwards() -> None:
    doubled = SHIPPED.replace("end-volume", "    option ping-timeout 30\nend-volume")
    assert with_settings(doubled).count("option ping-timeout") == 1


def test_a_text_without_the_block_is_refused() -> None:
    with pytest.raises(Failed) as caught:
        with_settings("volume management\n")
    assert caught.value.code == "gluster.daemon-file"


def test_configure_restarts_only_when_something_changed(tmp_path: Path) -> None:
    root = Root(tmp_path)
    path = root.at(DAEMON_FILE)
    path.parent.mkdir(parents=True)
    path.write_text(SHIPPED)
    processes = Scripted(answers={"systemctl": Completed(("systemctl",), 0, "", "")})
    assert verbs.configure(processes, root) is True
    assert verbs.configure(processes, root) is False
    assert [argv for argv, _ in processes.calls] == [
        ("systemctl", "daemon-reload"),
        ("systemctl", "restart", "glusterd.service"),
    ]


def test_bricks_outlive_a_restart_of_glusterd(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.at(DAEMON_FILE).parent.mkdir(parents=True)
    root.at(DAEMON_FILE).write_text(with_settings(SHIPPED))
    processes = Scripted(answers={"systemctl": Completed(("systemctl",), 0, "", "")})
    assert verbs.configure(processes, root) is True
    drop_in = root.at(DROP_IN_FILE).read_text().splitlines()
    ours = {"StartLimitIntervalSec=0", "KillMode=process", "ExecStartPre=-/usr/libexec/trivet-note-brick-ports"}
    assert ours <= set(drop_in)
    assert [argv[1] for argv, _ in processes.calls] == ["daemon-reload"]


def test_configure_without_gluster_says_so(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        verbs.configure(Scripted(), Root(tmp_path))
    assert caught.value.code == "gluster.daemon-file"
