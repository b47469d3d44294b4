"""``qemu-img``: argument lists and its JSON. Formats are always given, never probed; progress is asked for with ``-p``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from appliance.errors import Failed
from appliance.model.disk import DiskBitmap, DiskFormat, DiskMeasure, Preallocation

DIRECT = "none"
"""Cache mode of long reads and writes: a copy of a disk must not push everything else out of the node's memory."""
CHECK_OK = (0, 2, 3)
"""Exit statuses of ``qemu-img check`` that are an answer: clean, corrupt, leaking."""
COMPARE_OK = (0, 1)
"""… of ``qemu-img compare``: identical, different."""

Below = tuple[str, DiskFormat]
"""What lies below a disk: the name in its header, and the format."""

_PROGRESS = re.compile(r"\((\d+(?:\.\d+)?)/100%\)")


@dataclass(frozen=True)
class ImageInfo:
    """``qemu-img info`` of one file, without what is below it. ``backing`` and ``data_file`` as written in its header."""

    format: str
    virtual_bytes: int
    actual_bytes: int
    backing: str
    backing_format: str
    data_file: str
    qcow_version: int
    dirty: bool
    corrupt: bool
    bitmaps: tuple[DiskBitmap, ...] = ()


@dataclass(frozen=True)
class Check:
    """``qemu-img check``: ``errors`` make a disk unusable, ``leaks`` only waste room."""

    errors: int
    leaks: int
    fixed: int


def tethered(argv: Sequence[str]) -> tuple[str, ...]:
    """``argv`` as a process that the kernel kills when the agent dies: never two writers to one file."""
    return ("setpriv", "--pdeathsig", "KILL", "--", *argv)


def info_argv(path: PurePath, kind: DiskFormat) -> tuple[str, ...]:
    """Look at one file; ``-U``: also while a QEMU has it open."""
    return ("qemu-img", "info", "-U", "--output=json", "-f", kind, str(path))


def create_argv(
    path: PurePath, kind: DiskFormat, size_bytes: int, preallocation: Preallocation, backing: Below | None
) -> tuple[str, ...]:
    """Make a disk. ``backing``: relative name and format; ``size_bytes`` 0: the backing's size."""
    options = [f"preallocation={preallocation}"]
    if kind == "qcow2":
        options.append("lazy_refcounts=off")
    below = ("-b", backing[0], "-F", backing[1]) if backing else ()
    size = (str(size_bytes),) if size_bytes else ()
    return ("qemu-img", "create", "-q", "-f", kind, "-o", ",".join(options), *below, str(path), *size)


def overlay_argv(path: PurePath, size_bytes: int, backing: Below) -> tuple[str, ...]:
    """Make an empty layer over a disk that a VM has open: what is below is not looked at, so its size has to be given."""
    return ("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing[0], "-F", backing[1], str(path), str(size_bytes))


def bitmap_argv(path: PurePath, name: str, how: str) -> tuple[str, ...]:
    """Remember from now on under ``name`` what is written (``--add``), or forget it (``--remove``)."""
    return ("qemu-img", "bitmap", how, "-f", "qcow2", str(path), name)


def merge_bitmap_argv(path: PurePath, name: str, source: PurePath, kind: DiskFormat) -> tuple[str, ...]:
    """What ``source`` remembers under ``name`` is remembered by ``path``, too."""
    return ("qemu-img", "bitmap", "--merge", name, "-b", str(source), "-F", kind, "-f", "qcow2", str(path), name)


def convert_argv(
    source: tuple[PurePath, DiskFormat],
    target: tuple[PurePath, DiskFormat],
    preallocation: Preallocation,
    backing: Below | None,
) -> tuple[str, ...]:
    """Copy what the guest sees; over ``backing`` only the difference."""
    below = ("-B", backing[0], "-F", backing[1]) if backing else ()
    whole = ("-S", "0") if preallocation in ("falloc", "full") else ()
    argv = ("qemu-img", "convert", "-p", "-t", DIRECT, "-T", DIRECT, *whole, "-f", source[1], "-O", target[1], *below)
    # a layer cannot be reserved in advance: its room depends on what differs
    reserved = () if backing else ("-o", f"preallocation={preallocation}")
    return (*argv, *reserved, str(source[0]), str(target[0]))


def resize_argv(path: PurePath, kind: DiskFormat, size_bytes: int) -> tuple[str, ...]:
    """Grow a disk."""
    return ("qemu-img", "resize", "-q", "-f", kind, str(path), str(size_bytes))


def check_argv(path: PurePath, kind: DiskFormat, repair: bool) -> tuple[str, ...]:
    """Check a qcow2 file's own tables; ``repair``: leaks and errors."""
    return ("qemu-img", "check", "--output=json", *(("-r", "all") if repair else ()), "-f", kind, str(path))


def rebase_argv(path: PurePath, kind: DiskFormat, backing: Below | None, unsafe: bool) -> tuple[str, ...]:
    """Put another file below. ``unsafe``: only the name changes; otherwise differences are copied up first."""
    below = ("-b", backing[0], "-F", backing[1]) if backing else ("-b", "")
    careful = ("-u",) if unsafe else ("-p", "-t", DIRECT, "-T", DIRECT)
    return ("qemu-img", "rebase", *careful, "-f", kind, *below, str(path))


def commit_argv(path: PurePath, kind: DiskFormat, base: PurePath) -> tuple[str, ...]:
    """Write the layers from ``path`` down to above ``base`` into ``base``; ``path`` keeps its content."""
    return ("qemu-img", "commit", "-p", "-d", "-t", DIRECT, "-f", kind, "-b", str(base), str(path))


def compare_argv(one: tuple[PurePath, DiskFormat], other: tuple[PurePath, DiskFormat]) -> tuple[str, ...]:
    """Compare what a guest would see of two disks."""
    return ("qemu-img", "compare", "-p", "-T", DIRECT, "-f", one[1], "-F", other[1], str(one[0]), str(other[0]))


def measure_argv(source: tuple[PurePath, DiskFormat], kind: DiskFormat) -> tuple[str, ...]:
    """How much room a copy needs."""
    return ("qemu-img", "measure", "-U", "--output=json", "-f", source[1], "-O", kind, str(source[0]))


def progress(line: str) -> float | None:
    """The percent in a line of ``-p``, or None."""
    found = _PROGRESS.search(line)
    return float(found.group(1)) if found else None


def parse_info(text: str) -> ImageInfo:
    """Of :func:`info_argv`. Raises ``Failed`` (``tool.output``)."""
    data = _object(text)
    specific = data.get("format-specific", {}).get("data", {})
    return ImageInfo(
        format=str(data["format"]),
        virtual_bytes=int(data["virtual-size"]),
        actual_bytes=int(data.get("actual-size", 0)),
        backing=str(data.get("backing-filename", "")),
        backing_format=str(data.get("backing-filename-format", "")),
        data_file=str(specific.get("data-file", "")),
        qcow_version={"0.10": 2, "1.1": 3}.get(str(specific.get("compat", "")), 0),
        dirty=bool(data.get("dirty-flag", False)),
        corrupt=bool(specific.get("corrupt", False)),
        bitmaps=tuple(
            DiskBitmap(str(one["name"]), "auto" in one["flags"], "in-use" not in one["flags"])
            for one in specific.get("bitmaps", ())
        ),
    )


def parse_check(text: str) -> Check:
    """Of :func:`check_argv`; its words on clusters around the JSON are left out. Raises ``Failed`` (``tool.output``)."""
    lines = text.splitlines()
    if "{" in lines and "}" in lines:
        text = "\n".join(lines[lines.index("{") : len(lines) - lines[::-1].index("}")])
    data = _object(text)
    errors = int(data.get("corruptions", 0)) + int(data.get("check-errors", 0))
    fixed = int(data.get("corruptions-fixed", 0)) + int(data.get("leaks-fixed", 0))
    return Check(errors, int(data.get("leaks", 0)), fixed)


def parse_measure(text: str) -> DiskMeasure:
    """Of :func:`measure_argv`. Raises ``Failed`` (``tool.output``)."""
    data = _object(text)
    return DiskMeasure(int(data["required"]), int(data["fully-allocated"]))


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        reason = f"it did not write JSON ({error}): {text[:200]}"
        raise Failed("tool.output", subject="qemu-img", reason=reason, remedy="Run it by hand.") from error
    if not isinstance(data, dict):
        raise Failed("tool.output", subject="qemu-img", reason="its JSON is no object", remedy="Run it by hand.")
    return data
