"""Build the images, reusing everything whose inputs did not change.

Three stages, each found again by the hash of its inputs: the OS layer (a minute or more), the tree (OS layer plus our code,
seconds), the image file. One build at a time on a machine; a second one waits and says so.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from appliance.effects.clock import Clock, SystemClock
from appliance.effects.process import SystemProcesses
from appliance.errors import Failed, TrivetError
from appliance.ports import Processes
from appliance.version import VERSION
from image import disk, hashing, oslayer, tree, workshop
from image.manifest import Manifest, check_sums, current, manifest_path, publish, read_manifest
from image.recipe import CACHE, DEBIAN_RELEASE, ENGINE, IMAGES, LOGS, MIB, NODE, RECIPES, Kind, Recipe

__all__ = ["Builder", "Built", "check_sums", "node_tree"]

COMPRESS_TIMEOUT_S: Final = 900.0
"""10 s here."""

NO_SPACE = ("No space left on device", "Disk quota exceeded")


class Report(Protocol):
    """Where progress goes; :class:`appliance.command.Output` is one."""

    def progress(self, percent: float, elapsed_s: float, text: str) -> None: ...

    def log(self, text: str) -> None: ...


class Quiet:
    """A report that nobody reads."""

    def progress(self, percent: float, elapsed_s: float, text: str) -> None:
        """Nothing."""

    def log(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Built:
    """An image that is there. ``reused``: nothing had to be done."""

    image: Path
    manifest: Manifest
    reused: bool


@dataclass(frozen=True)
class Stage:
    """One piece of work. ``weight_s``: how long it takes on two cores, measured; progress is the share of weights."""

    title: str
    weight_s: float
    do: Callable[[], None]


class Builder:
    """Builds images of this checkout. ``cache`` and ``images`` are where things go (tests choose others)."""

    def __init__(
        self,
        processes: Processes,
        clock: Clock,
        report: Report,
        environment: Mapping[str, str],
        cache: Path = CACHE,
        images: Path = IMAGES,
        logs: Path = LOGS,
    ) -> None:
        self._processes = processes
        self._clock = clock
        self._report = report
        self._environment = environment
        self._cache = cache
        self._images = images
        self._logs = logs
        self._log: Callable[[str], None] = lambda _line: None
        self._hashes: dict[str, str] = {}
        """Taken once a builder: an editor that saves a file during a build must not mix two hashes in one image."""

    def _alone(self) -> AbstractContextManager[None]:
        return workshop.alone(self._cache, self._report.log)

    # What identifies each stage ------------------------------------------------------------------------------------

    def os_layer(self, recipe: Recipe) -> Path:
        """Where the OS layer of ``recipe`` is, or will be."""
        return self._cache / "os" / f"{recipe.kind.value}-{self.os_sha256(recipe)[: hashing.SHORT]}"

    def os_sha256(self, recipe: Recipe) -> str:
        """Hash of everything that decides the OS layer of ``recipe``."""
        return self._once(f"os {recipe.kind.value}", lambda: hashing.os_sha256(recipe))

    def _once(self, name: str, compute: Callable[[], str]) -> str:
        if name not in self._hashes:
            self._hashes[name] = compute()
        return self._hashes[name]

    def inputs_sha256(self, recipe: Recipe) -> str:
        """Hash of everything that decides the image of ``recipe``; the node's includes the engine's, which is inside it."""
        code = self._once(f"code {recipe.kind.value}", lambda: hashing.code_sha256(recipe))
        parts = {"os": self.os_sha256(recipe), "code": code, "version": VERSION}
        if recipe.kind is Kind.NODE:
            parts["engine"] = self.inputs_sha256(ENGINE)
        return hashing.combined(parts)

    def tree_path(self, recipe: Recipe) -> Path:
        """Where the root tree of ``recipe`` is, or will be."""
        return self._cache / "tree" / f"{recipe.kind.value}-{self.inputs_sha256(recipe)[: hashing.SHORT]}"

    def image_path(self, recipe: Recipe) -> Path:
        """Where the image of ``recipe`` is, or will be."""
        return self._images / recipe.file_name

    def current(self, recipe: Recipe) -> Manifest | None:
        """The manifest of the image if it is there, whole, and made of the present inputs."""
        return current(self.image_path(recipe), self.inputs_sha256(recipe), self._report.log)

    # Building ------------------------------------------------------------------------------------------------------

    def build(self, kind: Kind) -> Built:
        """Build the image of ``kind`` (and the engine's first, when a node is wanted) unless it is current.

        Raises ``Failed`` (``image.disk-full``, ``process.failed``), ``Unavailable`` (``process.deadline``), ``Refused``
        (``image.mirror-missing``, ``image.disk-full``). Nothing half-made is ever under a final name.
        """
        recipe = RECIPES[kind]
        with self._alone():
            manifest = self.current(recipe)
            if manifest is not None:
                return Built(self.image_path(recipe), manifest, reused=True)
            self._run(kind, [*self._engine_stages(kind), *self._tree_stages(recipe), *self._image_stages(recipe)])
            return Built(self.image_path(recipe), read_manifest(manifest_path(self.image_path(recipe))), reused=False)

    def node_tree(self) -> Path:
        """The node's root tree, with our code and the engine image inside: what a lab node's root is laid over.

        It is never changed once it exists. Made when it is missing; same errors as :meth:`build`.
        """
        with self._alone():
            path = self.tree_path(NODE)
            if not path.is_dir():
                self._run(Kind.NODE, [*self._engine_stages(Kind.NODE), *self._tree_stages(NODE)])
            path.touch()
            return path

    def tools(self) -> Path:
        """The root of the node's OS layer: Debian 13's QEMU and firmware, for running guests on this machine."""
        return self.layer(NODE) / "root"

    def layer(self, recipe: Recipe) -> Path:
        """The OS layer of ``recipe``, made when it is missing; same errors as :meth:`build`."""
        layer = self.os_layer(recipe)
        with self._alone():
            if not layer.is_dir():
                self._run(recipe.kind, self._tree_stages(recipe)[:1])
        return layer

    def _engine_stages(self, kind: Kind) -> list[Stage]:
        if kind is Kind.ENGINE or self.current(ENGINE) is not None:
            return []
        return [*self._tree_stages(ENGINE), *self._image_stages(ENGINE)]

    def _tree_stages(self, recipe: Recipe) -> list[Stage]:
        name = recipe.kind.value
        stages = []
        layer, target = self.os_layer(recipe), self.tree_path(recipe)
        if not layer.is_dir():
            title = f"{name}: Debian {DEBIAN_RELEASE} with diskimage-builder"
            stages.append(Stage(title, 100.0 if recipe.kind is Kind.NODE else 75.0, lambda: self._make_layer(recipe, layer)))
        if not target.is_dir():
            stages.append(Stage(f"{name}: our programs into the tree", 5.0, lambda: self._make_tree(recipe, layer, target)))
        return stages

    def _image_stages(self, recipe: Recipe) -> list[Stage]:
        weight_s = 20.0 if recipe.kind is Kind.NODE else 15.0
        return [Stage(f"{recipe.kind.value}: disk image", weight_s, lambda: self._make_image(recipe))]

    def _make_layer(self, recipe: Recipe, layer: Path) -> None:
        layer.parent.mkdir(parents=True, exist_ok=True)
        for older in sorted(layer.parent.glob("*.making")):
            oslayer.discard_tree(self._processes, older)
        oslayer.build_layer(self._processes, recipe, layer, self._environment, self._log)
        workshop.prune(self._processes, layer, workshop.KEPT_LAYERS)

    def _make_tree(self, recipe: Recipe, layer: Path, target: Path) -> None:
        making = target.with_name(target.name + ".making")
        oslayer.discard_tree(self._processes, making)
        tree.link_tree(self._processes, layer / "root", making)
        engine = self.image_path(ENGINE)
        extra = (engine, manifest_path(engine)) if recipe.kind is Kind.NODE else ()
        tree.add_code(self._processes, making, recipe, extra)
        making.rename(target)
        workshop.prune(self._processes, target, workshop.KEPT_TREES)

    def _make_image(self, recipe: Recipe) -> None:
        final = self.image_path(recipe)
        making = self._images / f"{final.name}.making"
        raw = making if recipe.kind is Kind.ENGINE else self._images / f"{final.name}.disk"
        layer, inputs = self.os_layer(recipe), self.inputs_sha256(recipe)
        try:
            made = disk.make_disk(self._processes, recipe, self.tree_path(recipe), layer / "boot", inputs, raw)
            if raw is not making:
                argv = ["zstd", "-q", "-f", "-T0", "-3", str(raw), "-o", str(making)]
                self._processes.run(argv, timeout_s=COMPRESS_TIMEOUT_S)
            workshop.sync_file(making)
            packages = oslayer.read_packages(layer)
            manifest = Manifest(
                kind=recipe.kind.value,
                version=VERSION,
                file=final.name,
                size_bytes=making.stat().st_size,
                disk_bytes=made.total_bytes,
                sha256=hashing.file_sha256(making),
                inputs_sha256=inputs,
                os_sha256=self.os_sha256(recipe),
                release=DEBIAN_RELEASE,
                debian=packages["debian"],
                python=packages["python"],
            )
            publish(making, manifest)
        finally:
            for part in {raw, making}:
                part.unlink(missing_ok=True)

    # Running stages ------------------------------------------------------------------------------------------------

    def _run(self, kind: Kind, stages: Sequence[Stage]) -> None:
        self._images.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        log_path = self._logs / f"image-{kind.value}.log"
        workshop.check_space({self._cache: workshop.SPACE_CACHE_BYTES, self._images: workshop.SPACE_IMAGES_BYTES})
        total_s = sum(stage.weight_s for stage in stages) or 1.0
        began_s = self._clock.monotonic_s()
        passed_s = 0.0
        with log_path.open("w", buffering=1) as log:
            self._log = lambda line: print(line, file=log)
            self._report.log(f"full log: {log_path}")
            for stage in stages:
                elapsed_s = self._clock.monotonic_s() - began_s
                self._report.progress(100 * passed_s / total_s, elapsed_s, stage.title)
                self._log(f"== {elapsed_s:.1f} s: {stage.title}")
                self._do(stage, log_path)
                passed_s += stage.weight_s
        self._report.progress(100.0, self._clock.monotonic_s() - began_s, f"{kind.value}: done")

    def _do(self, stage: Stage, log_path: Path) -> None:
        try:
            stage.do()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._disk_full(stage, str(error)) from error
            raise
        except TrivetError as error:
            self._log(f"failed: {error}")
            if any(words in error.reason for words in NO_SPACE) or workshop.almost_full((self._cache, self._images)):
                raise self._disk_full(stage, error.reason[-200:]) from error
            error.remedy += f" The full log is {log_path}."
            raise

    def _disk_full(self, stage: Stage, said: str) -> Failed:
        return Failed(
            "image.disk-full",
            subject=f"{stage.title}",
            reason=f"the disk of {self._cache} or {self._images} is full ({said}); no half-made file got a final name",
            remedy=f"Free {workshop.SPACE_CACHE_BYTES // MIB} MiB at {self._cache} and "
            f"{workshop.SPACE_IMAGES_BYTES // MIB} MiB at {self._images}, then run the same command again: what is done "
            "already is kept.",
        )


def node_tree(report: Report | None = None) -> Path:
    """The node's root tree of this checkout, made when it is missing (see :meth:`Builder.node_tree`)."""
    return Builder(SystemProcesses(), SystemClock(), report or Quiet(), os.environ).node_tree()
