"""Every type of job: a line each. How to add one: engine/DESIGN.md."""

from __future__ import annotations

from typing import Any

from engine.jobs.disk_create import DiskCreate
from engine.jobs.disk_remove import DiskRemove
from engine.jobs.job import JobType, by_name

TYPES: tuple[JobType[Any], ...] = (DiskCreate(), DiskRemove())
BY_NAME = by_name(TYPES)
