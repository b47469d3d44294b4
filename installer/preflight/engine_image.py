"""Is the engine image on the installing node, and intact?"""

from __future__ import annotations

from collections.abc import Iterator

from installer.answers import Answers
from installer.preflight.problem import Problem
from installer.probe import View


def engine_image(answers: Answers, view: View) -> Iterator[Problem]:
    """It comes with the node image, whose version all nodes share (check ``versions``), so one look is enough."""
    if view.engine_image_problem:
        yield Problem(
            "preflight.engine-image",
            view.here or "cluster",
            view.engine_image_problem,
            "the engine image that belongs to this version, with the right checksum",
            "Install the node image again on this node.",
        )
