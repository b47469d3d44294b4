"""What layers remember of what was written since a checkpoint: found, and carried along when they are folded."""

from __future__ import annotations

import json

import pytest

from appliance.errors import Conflict
from appliance.model.disk import DiskBitmap, DiskFile, DiskInfo
from appliance.tools.bitmaps import Carry, carried, layers_with
from appliance.tools.qemu_img import parse_info

GOOD = {name: DiskBitmap(name) for name in ("c1", "c2")}
BROKEN = DiskBitmap("c1", is_consistent=False)
STILL = DiskBitmap("c1", is_recording=False)


def layer(name: str, *bitmaps: DiskBitmap, kind: str = "qcow2") -> DiskInfo:
    return DiskInfo(DiskFile("data", name, kind), 1, 1, bitmaps=bitmaps)  # type: ignore[arg-type]


TOP, MIDDLE, BASE = layer("top", GOOD["c1"], GOOD["c2"]), layer("middle", GOOD["c1"]), layer("base", GOOD["c1"])


def test_layers_with_a_checkpoint_are_those_since_it() -> None:
    chain = (TOP, MIDDLE, BASE)
    assert layers_with(chain, "c1") == [TOP.file, MIDDLE.file, BASE.file]
    assert layers_with(chain, "c2") == [TOP.file]
    assert layers_with((TOP, layer("other"), BASE), "c1") == [TOP.file], "what is below was there when it was made"


@pytest.mark.parametrize("chain", [(layer("top"), BASE), (TOP, layer("base", BROKEN)), (layer("top", STILL),)])
def test_what_nobody_knows_is_said(chain: tuple[DiskInfo, ...]) -> None:
    with pytest.raises(Conflict, match="full backup") as caught:
        layers_with(chain, "c1")
    assert caught.value.code == "disk.bitmap-lost"


@pytest.mark.parametrize(
    ("above", "base", "expected"),
    [
        ([TOP], BASE, [Carry("c1", (TOP.file,), is_new=False), Carry("c2", (TOP.file,), is_new=True)]),
        ([TOP, MIDDLE], BASE, [Carry("c1", (TOP.file, MIDDLE.file), is_new=False), Carry("c2", (TOP.file,), is_new=True)]),
        ([TOP], layer("base", kind="raw"), []),
        ([layer("top", BROKEN)], BASE, []),
        ([TOP], layer("base", BROKEN), [Carry("c2", (TOP.file,), is_new=True)]),
        ([TOP, layer("middle")], BASE, [Carry("c2", (TOP.file,), is_new=True)]),
        ([], BASE, []),
    ],
)
def test_what_goes_along(above: list[DiskInfo], base: DiskInfo, expected: list[Carry]) -> None:
    assert carried(above, base) == expected


def test_qemus_words_for_bitmaps() -> None:
    flags = {"c1": ["auto"], "c2": ["in-use", "auto"], "c3": []}
    data = {"compat": "1.1", "bitmaps": [{"name": one, "flags": said, "granularity": 65536} for one, said in flags.items()]}
    found = parse_info(json.dumps({"format": "qcow2", "virtual-size": 1, "format-specific": {"data": data}}))
    assert [(one.name, one.is_good) for one in found.bitmaps] == [("c1", True), ("c2", False), ("c3", False)]
