"""The page as HTML out of a status: no script, no image, one style. Pure."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from appliance.errors import TrivetError
from appliance.model.ha import HaStatus, HostHa
from ha_broker import words

REFRESH_S = 3
"""How often a browser looks again: a failover is told while it happens; each look is a TLS handshake of some
milliseconds."""

STYLE = """\
:root{color-scheme:light dark;--good:#1a7f37;--bad:#c62828;--busy:#9a6700;--line:#8886}
@media(prefers-color-scheme:dark){:root{--good:#4cc26a;--bad:#ff7b72;--busy:#e3b341}}
body{font:1rem/1.45 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;margin:0}dt{opacity:.7}dd{margin:0}
table{border-collapse:collapse;width:100%}th,td{border-top:1px solid var(--line);padding:.35rem .8rem .35rem 0;
text-align:left;vertical-align:top}th{font-weight:600}td.number{font-variant-numeric:tabular-nums;text-align:right}
.good{color:var(--good)}.bad{color:var(--bad)}.busy{color:var(--busy)}.small{opacity:.75;font-size:.9rem}
ul{margin:0;padding-left:1.1rem}.alert{border-left:.3rem solid var(--bad);padding:.2rem .8rem;margin:.6rem 0}
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Nothing may be loaded or run but this very style."""


def page(status: HaStatus, error: TrivetError | None, now_wall_s: float) -> str:
    """The whole page. ``error``: the broker of this node is silent, and what is shown is old or nothing."""
    head = "The engine is up" if status.engine.state == "up" else f"The engine is {status.engine.state}"
    if error is not None:
        head = "This node's broker is silent"
    mood = words.mood_of(status) if error is None else "bad"
    here = f" · {status.host}" if status.host else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{REFRESH_S}"><title>{escape(head + here)} · Trivet</title><style>{STYLE}</style></head>
<body><main>
<h1 id="head" class="{mood}">{escape(head)}</h1>
{_error(error)}{_alerts(status)}{_summary(status, now_wall_s)}
<h2>Hosts</h2>
<table id="hosts"><thead><tr><th>host</th><th>is</th><th>score</th><th>last decision, and what counts against it</th></tr>
</thead><tbody>{"".join(map(_host, status.hosts))}</tbody></table>
<h2>Last decisions</h2>
<table id="decisions"><tbody>{_decisions(status, now_wall_s)}</tbody></table>
<p class="small">{escape(words.clock_time(now_wall_s))} UTC · looked at again every {REFRESH_S} s ·
<a href="/status.json">as JSON</a></p>
</main></body></html>
"""


def _error(error: TrivetError | None) -> str:
    if error is None:
        return ""
    said = f"{error.subject}: {error.reason}."
    return f'<p class="alert" id="error">{escape(said)}<br><span class="small">{escape(error.remedy)}</span></p>\n'


def _alerts(status: HaStatus) -> str:
    return "".join(
        f'<p class="alert">{escape(alert.sentence)} <span class="small">{escape(alert.code)}</span></p>\n'
        for alert in status.alerts
    )


def _summary(status: HaStatus, now_wall_s: float) -> str:
    rows = [
        ("engine", words.engine_words(status.engine, now_wall_s), "engine"),
        ("fence", words.fence_words(status), "fence"),
        ("next start", words.start_words(status), "next-start"),
        ("maintenance", words.maintenance_words(status), "maintenance"),
        ("waiting", words.waiting_words(status, now_wall_s), "waiting"),
        ("told by", words.source_words(status), "told-by"),
    ]
    listed = "".join(f'<dt>{name}</dt><dd id="{key}">{escape(said)}</dd>\n' for name, said, key in rows if said)
    return f"<dl>{listed}{_link(status)}</dl>"


def _link(status: HaStatus) -> str:
    url = engine_url(status)
    name = status.engine.fqdn or status.engine.address
    return f'<dt>its page</dt><dd><a id="engine-link" href="{escape(url)}">{escape(name)}</a></dd>\n' if url else ""


def engine_url(status: HaStatus) -> str:
    """Where the engine's own page is, or empty. By address: a person who came by a node's address may have no names."""
    address = status.engine.address
    if not address:
        return ""
    return f"https://[{address}]/" if ":" in address else f"https://{address}/"


def _host(host: HostHa) -> str:
    against = "".join(f"<li>{escape(reason)}</li>" for reason in words.eligible_words(host))
    reasons = f"<ul>{against}</ul>" if against else ""
    return (
        f'<tr><td>{escape(host.name)}</td><td class="{words.host_mood(host)}">{escape(words.alive_words(host))}</td>'
        f'<td class="number">{escape(words.score_words(host))}</td><td>{escape(words.host_words(host))}{reasons}</td></tr>\n'
    )


def _decisions(status: HaStatus, now_wall_s: float) -> str:
    found = words.last_decisions(status)
    return (
        "".join(
            f"<tr><td>{escape(words.decision_time(one.wall_s, now_wall_s))}</td><td>{escape(one.host)}</td>"
            f"<td>{escape(one.sentence)}</td></tr>\n"
            for one in found
        )
        or "<tr><td>none yet</td></tr>"
    )
