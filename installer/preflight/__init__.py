"""The preflight: one question a file, all of them pure, asked of one view of the world. :data:`CHECKS` is their order."""

from __future__ import annotations

from appliance.errors import Refused
from installer.answers import Answers
from installer.preflight.answering import answering
from installer.preflight.brick_disks import brick_disks
from installer.preflight.brick_folders import brick_folders
from installer.preflight.clocks import clocks
from installer.preflight.engine_address import engine_address
from installer.preflight.engine_image import engine_image
from installer.preflight.membership import membership
from installer.preflight.memory import memory
from installer.preflight.names import names
from installer.preflight.nics import nics
from installer.preflight.placed_here import placed_here
from installer.preflight.problem import Check, Problem
from installer.preflight.reach import reach
from installer.preflight.versions import versions
from installer.probe import View

__all__ = ["CHECKS", "Check", "Problem", "judge", "refusal"]

CHECKS: tuple[Check, ...] = (
    names,
    answering,
    placed_here,
    versions,
    clocks,
    memory,
    nics,
    membership,
    brick_folders,
    brick_disks,
    reach,
    engine_address,
    engine_image,
)


def judge(answers: Answers, view: View) -> tuple[Problem, ...]:
    """Every problem that any check finds."""
    return tuple(problem for check in CHECKS for problem in check(answers, view))


def refusal(problems: tuple[Problem, ...], cluster_name: str) -> Refused:
    """All ``problems`` as one error. Its facts hold each with its own code."""
    listed = "".join(f"\n  - {problem} [{problem.code}]" for problem in problems)
    return Refused(
        "install.preflight",
        subject=f"cluster {cluster_name}",
        reason=f"{len(problems)} thing(s) stand in the way; nothing was changed:{listed}",
        remedy="Do what each line says, then run the same command again.",
        facts={"problems": [vars(problem) for problem in problems]},
    )
