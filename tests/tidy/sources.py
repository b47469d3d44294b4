"""The files that the house rules look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("appliance", "engine", "gluster", "ha_broker", "image", "installer")
FOLDERS = (*PACKAGES, "tests")
TEXT_SUFFIXES = {".py", ".sh", ".toml", ".md", ".txt", ".service", ".html", ".js", ".css", ".yaml", ".cfg", ""}


@dataclass(frozen=True)
class Source:
    """A Python file of ours: where it is, what it says, what it means."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Path from the root, as people say it."""
        return str(self.path.relative_to(ROOT))

    def imported(self) -> set[str]:
        """Every module that is imported anywhere in the file, dotted; ``from a import b`` counts as ``a`` and ``a.b``."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
        return found


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions, nested ones and methods too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@cache
def python_files(*folders: str) -> tuple[Source, ...]:
    """The Python files below ``folders``."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)
    return tuple(Source(path, text, ast.parse(text)) for path in paths for text in (path.read_text(),))


@cache
def text_files() -> tuple[tuple[str, str], ...]:
    """(path from the root, text) of everything a person wrote: programs, units, documents; not recorded data."""
    tops = [path for path in ROOT.iterdir() if path.is_file() and path.name != "LICENSE" and path.suffix != ".lock"]
    below = [path for folder in (*FOLDERS, "docs", ".ci") for path in (ROOT / folder).rglob("*") if path.is_file()]
    skipped = {"__pycache__", "data", "golden"}
    found = []
    for path in sorted(tops + below):
        if path.suffix in TEXT_SUFFIXES and not skipped & set(path.relative_to(ROOT).parts):
            try:
                found.append((str(path.relative_to(ROOT)), path.read_text()))
            except UnicodeDecodeError:
                continue
    return tuple(found)
