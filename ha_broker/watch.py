"""``trivet ha status --watch``: the screen again and again, until Ctrl-C or until nobody reads it any more."""

from __future__ import annotations

import json
from collections.abc import Callable

from appliance.command import Output
from appliance.effects.clock import Clock

EVERY_S = 1.0
"""As often as the broker says something new."""

HOME = "\x1b[H"
REST_OF_LINE = "\x1b[K"
REST_OF_SCREEN = "\x1b[J"


def watch(look: Callable[[], tuple[object, str]], output: Output, clock: Clock) -> None:
    """Show what ``look`` answers (data, text) each second; returns on Ctrl-C.

    On a terminal the screen is drawn over in place, so that nothing flickers; elsewhere blocks follow one another, with
    an empty line between; with ``--json`` each is a JSON document on a line.
    """
    first = True
    try:
        while True:
            data, text = look()
            if output.as_json:
                output.write(json.dumps(data, ensure_ascii=False) + "\n")
            elif output.terminal() is not None:
                output.write(drawn(text, first))
            else:
                output.write(text + "\n\n")
            first = False
            clock.sleep(EVERY_S)
    except KeyboardInterrupt:
        output.write("" if output.as_json else "\n")


def drawn(text: str, first: bool) -> str:
    """The control sequences and text that replace what is on the screen. The first one clears it."""
    lines = "\n".join(line + REST_OF_LINE for line in text.splitlines())
    return f"{HOME}{REST_OF_SCREEN if first else ''}{lines}{REST_OF_SCREEN}"
