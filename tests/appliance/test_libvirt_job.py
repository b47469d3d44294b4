"""Long work of libvirt on a domain: watched, limited, broken off; what neither fake nor QEMU can be made to do on time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import libvirt
import pytest

from appliance.effects import libvirt_job, libvirt_migration
from appliance.errors import Failed
from appliance.model.vm_live import JobProgress, MigrationLimits
from tests.appliance.test_libvirt_host import INCOMING, Domain, Said

ABORTED = Said("operation aborted: canceled by client", libvirt.VIR_ERR_OPERATION_ABORTED)
RUNNING = {"type": 2, "data_total": 200, "data_remaining": 150}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_job, "LOOK_S", 0.01)


def hanging(domain: Domain) -> Callable[[], None]:
    def work() -> None:
        assert domain.aborted.wait(10), "nobody broke it off"
        raise ABORTED

    return work


def test_who_watches_hears_how_far_it_is_and_may_stop_it() -> None:
    domain, heard = Domain(RUNNING), []

    def watch(progress: JobProgress) -> bool:
        heard.append(progress.percent)
        return len(heard) < 3

    with pytest.raises(Failed) as caught:
        libvirt_job.guarded(domain, hanging(domain), 10.0, watch)
    assert (caught.value.code, heard) == ("vm.broken-off", [25.0] * 3)
    assert "as asked" in caught.value.reason


def test_it_ends_at_its_deadline() -> None:
    domain = Domain(RUNNING)
    with pytest.raises(Failed) as caught:
        libvirt_job.guarded(domain, hanging(domain), 0.05, lambda _progress: True)
    assert caught.value.code == "vm.broken-off" and "did not end" in caught.value.reason


def test_an_error_of_its_own_stays_one() -> None:
    def fail() -> None:
        raise Said("no route to host", libvirt.VIR_ERR_OPERATION_FAILED)

    with pytest.raises(libvirt.libvirtError, match="no route"):
        libvirt_job.guarded(Domain(RUNNING), fail, 10.0, lambda _progress: True)


def test_what_ends_in_time_is_not_touched() -> None:
    domain, done = Domain({"type": 0}), threading.Event()
    libvirt_job.guarded(domain, done.set, 10.0, lambda _progress: False)
    assert done.is_set() and not domain.aborted.is_set()


def test_where_nobody_counts_there_is_no_progress() -> None:
    assert libvirt_job.progress(Domain(INCOMING)) is None
    assert libvirt_job.progress(Domain({"type": 0})) is None
    assert libvirt_job.progress(Domain(RUNNING)) == JobProgress(200, 50, 150)
    assert JobProgress().percent == 0


@pytest.mark.parametrize("converge", [True, False])
def test_the_limits_of_a_migration_reach_libvirt(converge: bool) -> None:
    domain = Domain(RUNNING)
    domain.aborted.set()
    limits = MigrationLimits(bandwidth_mib_s=77, downtime_ms=55, auto_converge=converge)
    with pytest.raises(libvirt.libvirtError):
        libvirt_migration.migration(domain, "node2", limits)()
    assert domain.parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] == 77 and domain.parameters["downtime"] == 55
    flags = domain.parameters["flags"]
    assert isinstance(flags, int) and flags & libvirt.VIR_MIGRATE_TLS
    assert bool(flags & libvirt.VIR_MIGRATE_AUTO_CONVERGE) == converge
