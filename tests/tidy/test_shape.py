"""Sizes, words and documents: rules that keep a file readable for the next person."""

from __future__ import annotations

import ast
import re

import pytest

from tests.tidy.sources import FOLDERS, PACKAGES, ROOT, Source, functions, python_files, text_files

LONGEST_FUNCTION_LINES = 70
LONGEST_FILE_LINES = 400

TOO_LONG_FILES: dict[str, str] = {}
"""File → why it may be longer for now. The list only shrinks."""
TOO_LONG_FUNCTIONS: dict[str, str] = {}
"""file:function → why it may be longer for now. The list only shrinks."""


def test_functions_fit_on_a_screen() -> None:
    found = {
        f"{source.name}:{function.name}": lines
        for source in python_files(*FOLDERS)
        for function in functions(source.tree)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION_LINES
    }
    assert not found.keys() - TOO_LONG_FUNCTIONS.keys(), f"Split by question, not by phase (lines): {found}"
    assert not TOO_LONG_FUNCTIONS.keys() - found.keys(), "These are short enough now: take them off the list."


def test_files_hold_one_subject() -> None:
    found = {
        source.name: lines for source in python_files(*FOLDERS) if (lines := source.text.count("\n")) > LONGEST_FILE_LINES
    }
    assert not found.keys() - TOO_LONG_FILES.keys(), f"Give each subject its own file (lines): {found}"
    assert not TOO_LONG_FILES.keys() - found.keys(), "These are short enough now: take them off the list."


def test_nothing_is_left_for_later_in_comments() -> None:
    words = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"))
    found = [name for name, text in text_files() if re.search(rf"\b({words})\b", text)]
    assert not found, f"Do it, or write an issue; a note in the code is read by nobody: {found}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_was_decided_in_it(folder: str) -> None:
    design = ROOT / folder / "DESIGN.md"
    assert design.is_file(), f"Write {folder}/DESIGN.md: state, decisions with their reasons, alternatives refused."
    assert len(design.read_text()) > 500, f"{folder}/DESIGN.md says next to nothing."


def undocumented(source: Source) -> list[str]:
    public = [
        node
        for node in source.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]
    missing = [f"{source.name}:{node.lineno} {node.name}" for node in public if not ast.get_docstring(node)]
    is_empty = not source.tree.body and source.path.name == "__init__.py"
    return missing if is_empty or ast.get_docstring(source.tree) else [source.name, *missing]


def test_public_things_say_what_they_mean() -> None:
    found = [name for source in python_files(*PACKAGES) for name in undocumented(source)]
    assert not found, "Add a docstring: meaning, units, errors, source of numbers:\n" + "\n".join(found)


def test_every_module_looks_forward() -> None:
    needs_it = [source for source in python_files(*PACKAGES) if any(functions(source.tree))]
    found = [source.name for source in needs_it if "__future__.annotations" not in source.imported()]
    assert not found, f"Begin with `from __future__ import annotations`: {found}"
