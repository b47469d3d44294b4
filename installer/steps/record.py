"""The last step: what was installed is written down, which also tells the unattended unit that it has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator

from installer.answers import render
from installer.ports import World
from installer.steps.step import InstallStep


def record_steps() -> Iterator[InstallStep]:
    """Keep the answers, without their tokens."""

    def probe(world: World) -> bool:
        return world.installing.kept_answers() == render(world.answers)

    yield InstallStep(
        "install.record",
        "Keep the answers of this installation (without tokens)",
        0.1,
        probe,
        lambda world, log: world.installing.keep_answers(render(world.answers)),
    )
