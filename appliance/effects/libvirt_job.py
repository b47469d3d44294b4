"""Long work of libvirt on a domain (migrating, saving): watched, limited, broken off. See :mod:`appliance.vm_ports`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import libvirt

from appliance.errors import Failed
from appliance.model.vm_live import JobProgress
from appliance.vm_ports import Watch

LOOK_S = 0.5
"""How often work is looked at: a person who cancels sees it end within a second."""
ABORT_S = 20.0
"""How long after its deadline work that was broken off may take to say so: two stalls of a volume, and as much again."""


def guarded(domain: Any, call: Callable[[], object], deadline_s: float, watch: Watch) -> None:
    """``call`` works on ``domain`` until it returns. Broken off at the deadline, or when ``watch`` says so (``Failed``
    ``vm.broken-off``). Raises ``libvirtError``."""
    ended, why = threading.Event(), [""]

    def guard() -> None:
        end_s = time.monotonic() + deadline_s
        while not ended.wait(LOOK_S):
            if time.monotonic() >= end_s:
                why[0] = f"it did not end within {deadline_s:.0f} s and was broken off"
            elif not watch(progress(domain) or JobProgress()):
                why[0] = "it was broken off, as asked"
            if why[0]:
                with contextlib.suppress(libvirt.libvirtError):  # it ended at this very moment
                    domain.abortJob()

    threading.Thread(target=guard, name="libvirt-job-guard", daemon=True).start()
    try:
        call()
    except libvirt.libvirtError as error:
        if not why[0]:
            raise
        raise Failed(
            "vm.broken-off",
            subject=f"VM {domain.name()}",
            reason=f"{why[0]}: {error}",
            remedy="It goes on where it was. If time was too short: look at the load of guest, link and volume.",
        ) from error
    finally:
        ended.set()


def progress(domain: Any) -> JobProgress | None:
    """How far the domain's job is; None: there is none (any more)."""
    try:
        job = domain.jobStats()
    except libvirt.libvirtError:
        return None  # the domain has gone, or is just arriving: nobody counts here
    if job.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
        return None
    return of_job(job)


def of_job(job: Mapping[str, int]) -> JobProgress:
    """libvirt's numbers of a job."""
    total, remaining = int(job.get("data_total", 0)), int(job.get("data_remaining", 0))
    return JobProgress(total, max(0, total - remaining), remaining)
