"""May this start of the engine go active? Epochs only grow; a start that is not newer than the last one is an old copy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochVerdict:
    """``active``: go on. ``record``: this start is to be written down first (false: it was already)."""

    active: bool
    record: bool
    reason: str


def judge(epoch: int, boot_id: str, recorded: tuple[int, str] | None) -> EpochVerdict:
    """``recorded`` is (epoch, boot id) of the newest start in the database, ``None`` at the first start.

    The same epoch with the same boot id is the same start asked again (its unit was restarted), not a second one.
    """
    if recorded is None:
        return EpochVerdict(True, True, f"epoch {epoch} is the first")
    last, last_boot = recorded
    if epoch > last:
        return EpochVerdict(True, True, f"epoch {epoch} follows {last}")
    if epoch == last and boot_id == last_boot:
        return EpochVerdict(True, False, f"epoch {epoch} is this very start")
    return EpochVerdict(False, False, f"epoch {epoch} is not higher than {last}, with which this data was started before")
