"""``trivet ha start --force``: a start that the rules would not make, confirmed by typing the cluster's name.

What it overrides: maintenance, used-up starts, a host's own ineligibility. What it cannot: the volume. Without two of the
three bricks the volume refuses every write, and Trivet does not take that protection away: a disk started on one copy
would contradict the other two when they return, and one history would be lost. So without a quorum the forced start is
refused, with the way out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.effects.clock import Clock
from appliance.effects.files import PRIVATE, write_atomically
from appliance.effects.root import Root
from appliance.errors import Conflict, Refused, TrivetError, Unavailable
from appliance.model.ha import HaStatus
from appliance.verbs.membership import MembershipFiles
from ha_broker.known import known

DEADLINE_S: Final = 30.0
"""Until the broker has decided: it waits for good storage, and a stall after the loss of a brick takes 6 s."""

POLL_S: Final = 0.3
SUBJECT: Final = "the forced start of the engine VM"


def confirm(cluster: str, typed: Callable[[], str]) -> None:
    """Let a person type the cluster's name. Raises ``Refused`` (``ha.not-confirmed``)."""
    print(  # noqa: T201 - a question to the terminal, never part of a result
        f"This starts the engine VM here although the rules say no. Make sure that it runs on no other host.\n"
        f"Type the name of the cluster ({cluster}) to go on: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    if typed().strip() != cluster:
        raise Refused(
            "ha.not-confirmed",
            subject=SUBJECT,
            reason="the cluster's name was not typed",
            remedy=f"Type {cluster} when asked, or leave it.",
        )


def force_start(request: Path, ask: Callable[[], tuple[HaStatus, TrivetError | None]], host: str, clock: Clock) -> str:
    """Ask this node's broker and wait for its decision; the sentence of it.

    Raises ``Unavailable`` (``ha.broker-silent``, ``ha.forced-deadline``: nothing was started, the request was taken back),
    ``Conflict`` (``ha.forced-refused``).
    """
    status, error = ask()
    if error is not None:
        raise error
    if status.engine.state == "up":
        raise _refused(f"the engine answers on {status.engine.host}", "Nothing needs to be started.")
    began_s = clock.wall_s()
    write_atomically(request, "", PRIVATE)
    until_s = clock.monotonic_s() + DEADLINE_S
    while True:
        clock.sleep(POLL_S)
        status, _ = ask()
        said = [one.sentence for one in status.decisions if one.host == host and one.wall_s >= began_s]
        refused = next((one for one in said if "forced start is refused" in one), None)
        if not request.exists():
            if refused is not None:
                raise _refused(refused, _remedy(refused))
            started = next((one for one in said if "forced start" in one), None)
            if started is not None:
                return started
        if clock.monotonic_s() >= until_s:
            request.unlink(missing_ok=True)
            raise Unavailable(
                "ha.forced-deadline",
                subject=SUBJECT,
                reason=f"this node's broker has not decided within {DEADLINE_S:g} s; {said[-1] if said else 'it is silent'}",
                remedy="`trivet ha status` says how its storage fares. The request was taken back.",
            )


def command(force: bool, request: Path, status: Path, clock: Clock) -> str:
    """What ``trivet ha start`` does; the broker's sentence."""
    if not force:
        raise Refused(
            "ha.start-needs-force",
            subject="trivet ha start",
            reason="brokers start the engine VM by themselves; a start by hand overrides what they wait for",
            remedy="`trivet ha status` says what is waited for; `trivet ha start --force` overrides it.",
        )
    cluster, membership = MembershipFiles(Root()).require()
    confirm(cluster.name, sys.stdin.readline)
    return force_start(request, lambda: known(status, clock), membership.name, clock)


def _remedy(sentence: str) -> str:
    if "without a second brick" in sentence:
        return (
            "Bring one more host back: two bricks are enough, and the start is then made by itself. If the others are lost"
            " for good, replace them by new nodes; their old copies must never come back beside this one."
        )
    return "The sentence says what is in the way; `trivet ha status` shows the rest."


def _refused(reason: str, remedy: str) -> TrivetError:
    return Conflict("ha.forced-refused", subject=SUBJECT, reason=reason, remedy=remedy)
