"""A marked block in a file that others own too: ours is replaced, every other line stays."""

from __future__ import annotations


def begin(title: str) -> str:
    """The line that opens the block ``title``."""
    return f"# BEGIN trivet {title} (replaced by trivet-agent)"


def end(title: str) -> str:
    """The line that closes the block ``title``."""
    return f"# END trivet {title}"


def with_block(text: str, title: str, lines: tuple[str, ...]) -> str:
    """``text`` with its block ``title`` holding ``lines``: in its place, or at the end. No lines: the block goes."""
    kept = text.splitlines()
    place = len(kept)
    if begin(title) in kept:
        place = kept.index(begin(title))
        rest = kept[place:]
        # a block whose end is missing was cut by somebody: only its first line is surely ours
        last = rest.index(end(title)) if end(title) in rest else 0
        del kept[place : place + last + 1]
    block = [begin(title), *lines, end(title)] if lines else []
    return "\n".join([*kept[:place], *block, *kept[place:]]).rstrip("\n") + "\n"
