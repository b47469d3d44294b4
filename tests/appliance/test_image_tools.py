"""ovirt-imageio's configuration and qemu-nbd's unit as texts: golden, and what they must never say."""

from __future__ import annotations

import configparser
import json
import os
from pathlib import Path

import pytest

from appliance.model.disk import DiskFile
from appliance.model.image_ticket import ImageTicket
from appliance.tools.imageio_conf import ImageioSettings, imageio_conf, ticket_body
from appliance.tools.qemu_nbd import nbd_argv, start_argv, stop_argv, unit_name, words_argv

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "imageio"
RAW, COW = DiskFile("vmstore", "images/d/i"), DiskFile("vmstore", "images/d/i", "qcow2")
PLACE, SOCKET = Path("/var/lib/trivet/volumes/vmstore/images/d/i"), Path("/run/trivet-nbd/t/socket")


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("TRIVET_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def ticket(file: DiskFile = COW, *, writes: bool = True, as_file: bool = False, shallow: bool = False) -> ImageTicket:
    return ImageTicket("the-secret", "t", file, writes, as_file, shallow)


def settings() -> ImageioSettings:
    pki = Path("/run/credentials/trivet-imageio.service")
    control = Path("/run/trivet-imageio/control")
    return ImageioSettings("198.18.0.11", 54322, pki / "node.key", pki / "node.pem", pki / "ca.pem", control)


def test_golden() -> None:
    golden("50-trivet.conf", imageio_conf(settings()))
    golden("qemu-nbd.txt", "\n".join(start_argv(ticket(), PLACE, "trivet-nbd/t", SOCKET)) + "\n")


def test_the_daemon_reads_what_it_needs() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(imageio_conf(settings()))
    assert parser["tls"].getboolean("enable") and parser["control"]["transport"] == "unix"
    assert parser["logger_root"]["level"] == "WARNING", "its log of INFO tells the secrets of new tickets"


@pytest.mark.parametrize("one", [ticket(), ticket(writes=False), ticket(RAW)])
def test_no_process_sees_the_secret(one: ImageTicket) -> None:
    for argv in (start_argv(one, PLACE, "trivet-nbd/t", SOCKET), stop_argv("t"), words_argv("t")):
        assert not any("the-secret" in word for word in argv)
    assert unit_name("t") in stop_argv("t")


@pytest.mark.parametrize(
    ("one", "driver"),
    [(ticket(RAW), "raw"), (ticket(), "qcow2"), (ticket(as_file=True), "raw"), (ticket(writes=False), "qcow2")],
)
def test_formats_are_said(one: ImageTicket, driver: str) -> None:
    argv = nbd_argv(one, PLACE, SOCKET)
    node = json.loads(argv[-1].removeprefix("json:"))
    assert (node["driver"], node["file"]) == (driver, {"driver": "file", "filename": str(PLACE)})
    assert ("--read-only" in argv) is not one.writes and "backing" not in node


def test_a_shallow_one_has_nothing_below() -> None:
    node = json.loads(nbd_argv(ticket(writes=False, shallow=True), PLACE, SOCKET)[-1].removeprefix("json:"))
    assert node["backing"] is None and "backing" in node


def test_who_only_reads_may_not_write_the_domain() -> None:
    for writes in (True, False):
        argv = start_argv(ticket(writes=writes), PLACE, "trivet-nbd/t", SOCKET)
        assert any(word.startswith("--property=ReadWritePaths=") for word in argv) is writes


def test_a_ticket_to_read_allows_no_more() -> None:
    assert ticket_body(ticket(writes=False), 1, SOCKET)["ops"] == ["read"]
    assert ticket_body(ticket(), 1, SOCKET)["url"] == f"nbd:unix:{SOCKET}"
