"""The entry point: product, links, special objects, summary."""

from __future__ import annotations

from typing import Any

from appliance.version import VERSION
from engine.api.documents import BASE, Link
from engine.api.nouns import ref, when
from engine.api.nouns.vms import BLANK_TEMPLATE
from engine.core import Engine
from engine.store.records import AccountRecord

API_VERSION = {"major": 4, "minor": 5, "build": 7, "revision": 0, "full_version": f"4.5.7-trivet.{VERSION}"}
"""Clients gate features by it: the API that we speak is oVirt 4.5's."""
ROOT_TAG = "00000000-0000-0000-0000-000000000000"
SEARCHABLE = ("clusters", "datacenters", "events", "hosts", "storagedomains", "vms")


def root(engine: Engine, account: AccountRecord) -> dict[str, Any]:
    """The root object as ``account`` sees it."""
    view = engine.view()
    domains = engine.store.items("storage_domain")
    started = [
        domain for domain in domains if (volume := view.volume(str(domain.body["volume"]))) and volume.status == "Started"
    ]
    vms = engine.store.items("vm")
    running = [vm for vm in vms if (found := view.vm(vm.name)) and found[1].power == "running"]
    links: list[Link] = []
    for name in SEARCHABLE:
        links += [Link(name, f"{BASE}/{name}"), Link(f"{name}/search", f"{BASE}/{name}?search={{query}}")]
    links.append(Link("users", f"{BASE}/users"))
    user = ref("users", account.id)
    return {
        "authenticated_user": user,
        "effective_user": user,
        "product_info": {
            "name": "Trivet",
            "vendor": "Trivet",
            "instance_id": engine.cluster.id,
            "version": API_VERSION,
        },
        "special_objects": {"blank_template": ref("templates", BLANK_TEMPLATE), "root_tag": ref("tags", ROOT_TAG)},
        "summary": {
            "hosts": {"active": sum(host.status == "up" for host in view.hosts), "total": len(view.hosts)},
            "storage_domains": {"active": len(started), "total": len(domains)},
            "users": {"active": 1, "total": len(engine.store.accounts())},
            "vms": {"active": len(running), "total": len(vms)},
        },
        "time": when(engine.now_ms()),
        "link": tuple(links),
    }


def users(engine: Engine) -> list[dict[str, Any]]:
    """The accounts of the internal domain."""
    return [
        {
            "href": f"{BASE}/users/{account.id}",
            "id": account.id,
            "name": account.name,
            "comment": "",
            "description": "",
            "user_name": account.principal,
            "principal": account.name,
            "namespace": "*",
            "department": "",
            "email": "",
            "last_name": "",
            "domain": {"name": f"{account.domain}-authz"},
        }
        for account in engine.store.accounts()
    ]
