"""The entry point: product, links, special objects, summary."""

from __future__ import annotations

from appliance.version import VERSION
from engine.api.documents import BASE, Object
from engine.api.model import model
from engine.api.noun import Call, Noun
from engine.api.nouns import ref
from engine.builtin import BLANK_TEMPLATE, ROOT_TAG
from engine.decide.search import Compare, Query

API_VERSION = {"major": 4, "minor": 5, "build": 7, "revision": 0, "full_version": f"4.5.7-trivet.{VERSION}"}
"""Clients gate features by it: the API that we speak is oVirt 4.5's."""


class Root(Noun):
    """The root object."""

    services, kind = ("System",), "Api"

    def get(self, call: Call, identifier: str) -> Object:
        """What there is, as the caller sees it."""
        engine, view = call.engine, call.engine.view()
        entities = engine.store.entities
        started = [one for one in (view.pool.volumes if view.pool else ()) if one.status == "Started"]
        running = len(entities.stamps("vm", Query(Compare(("status",), "=", "up"))))
        running += view.vm("HostedEngine") is not None
        user = ref(call.account.id)

        def total(kind: str) -> int:
            return entities.count(kind, call.rights.only(kind))

        return {
            "authenticated_user": user,
            "effective_user": user,
            "product_info": {
                "name": "Trivet",
                "vendor": "Trivet",
                "instance_id": engine.founded.id,
                "version": API_VERSION,
            },
            "special_objects": {"blank_template": ref(BLANK_TEMPLATE), "root_tag": ref(ROOT_TAG)},
            "summary": {
                "hosts": {"active": sum(host.status == "up" for host in view.hosts), "total": total("host")},
                "storage_domains": {"active": len(started), "total": total("storage_domain")},
                "users": {"active": 1, "total": len(engine.store.accounts())},
                "vms": {"active": running, "total": total("vm")},
            },
            "time": engine.now_ms(),
        }

    def links(self, call: Call) -> tuple[tuple[str, str], ...]:
        """The collections that are served, and their searches."""
        found: list[tuple[str, str]] = []
        for path, service in model().services["System"].locators.items():
            noun = call.nouns.get(service)
            if noun is None:
                continue
            found.append((path, f"{BASE}/{path}"))
            if "search" in model().services[service].parameters.get("list", {}):
                found.append((f"{path}/search", f"{BASE}/{path}?search={{query}}"))
        return tuple(found)
