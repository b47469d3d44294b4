"""Who may do what, at which level; who sees what; and accounts. Tables: role × action × level."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.effects.clock import FakeClock
from appliance.errors import Conflict, Denied, NotFound, Refused, TrivetError
from engine.accounts import Accounts
from engine.decide.permit import SYSTEM, Grant, Key, is_administrator, may, reach
from engine.decide.roles import ADMIN_PERMITS, BY_NAME, EVERYONE, PERMITS, ROLES, SUPER_USER, USER_PERMITS
from engine.decide.search import parse
from engine.store.durable import Store
from engine.store.entities import Entity
from engine.store.permissions import ADMIN_ID, ADMIN_PERMISSION, BLANK_TEMPLATE, Permits, settle_rights, ways_up
from engine.users import Users

VM: Key = ("vm", "v1")
CHAIN = (VM, ("cluster", "c1"), ("data_center", "dc"), SYSTEM)
LEVELS = {"vm": VM, "cluster": CHAIN[1], "data_center": CHAIN[2], "system": SYSTEM, "other vm": ("vm", "v2")}

# the built-in roles


def test_the_built_in_roles_are_ovirts() -> None:
    assert len(ROLES) == len({role.id for role in ROLES}) == len(BY_NAME) == 37
    assert BY_NAME["SuperUser"].permits == frozenset(PERMITS)
    assert not USER_PERMITS.keys() & ADMIN_PERMITS.keys()
    assert len(set(PERMITS.values())) == len(PERMITS)
    assert all(role.permits for role in ROLES)


@pytest.mark.parametrize(
    ("role", "permit", "allowed"),
    [
        ("UserRole", "run_vm", True),
        ("UserRole", "connect_to_vm", True),
        ("UserRole", "delete_vm", False),
        ("UserRole", "edit_vm_properties", False),
        ("PowerUserRole", "create_vm", True),
        ("PowerUserRole", "create_disk", True),
        ("PowerUserRole", "run_vm", False),
        ("UserVmManager", "delete_vm", True),
        ("UserVmManager", "manipulate_vm_snapshots", True),
        ("UserVmManager", "migrate_vm", False),
        ("UserVmRunTimeManager", "manipulate_vm_snapshots", False),
        ("UserVmRunTimeManager", "run_vm", True),
        ("UserTemplateBasedVm", "create_vm", True),
        ("VmCreator", "create_vm", True),
        ("VmCreator", "delete_vm", False),
        ("ClusterAdmin", "migrate_vm", True),
        ("ClusterAdmin", "create_storage_domain", False),
        ("DataCenterAdmin", "create_template", True),
        ("DataCenterAdmin", "manipulate_users", False),
        ("StorageAdmin", "create_storage_domain", True),
        ("StorageAdmin", "create_vm", False),
        ("HostAdmin", "manipulate_host", True),
        ("NetworkAdmin", "create_network_vnic_profile", True),
        ("ReadOnlyAdmin", "login", True),
        ("ReadOnlyAdmin", "edit_vm_properties", False),
        ("DiskOperator", "delete_disk", True),
        ("DiskCreator", "delete_disk", False),
        ("TemplateOwner", "delete_template", True),
        ("TagManager", "tag_management", True),
        ("SuperUser", "manipulate_roles", True),
    ],
)
@pytest.mark.parametrize("level", LEVELS)
def test_a_role_allows_at_its_level_and_below(role: str, permit: str, allowed: bool, level: str) -> None:
    verdict = may([Grant(BY_NAME[role], LEVELS[level], "ann")], permit, CHAIN)
    assert verdict.allowed == (allowed and level != "other vm")
    assert verdict.reason
    if verdict.allowed:
        assert f"ann has role {role} on {'itself' if level == 'vm' else 'its ' + level.replace('_', ' ')}" == verdict.reason
    else:
        assert verdict.reason == f"no role with permit {permit} on it, nor on cluster, data center, system"


def test_the_reason_names_the_nearest_grant() -> None:
    grants = [Grant(BY_NAME["SuperUser"], SYSTEM, "ann"), Grant(BY_NAME["UserRole"], CHAIN[1], "group staff")]
    assert may(grants, "run_vm", CHAIN).reason == "group staff has role UserRole on its cluster"


@pytest.mark.parametrize(
    ("role", "on", "asking", "everything", "ids", "roots"),
    [
        ("SuperUser", SYSTEM, "all", True, set(), set()),
        ("SuperUser", SYSTEM, "own", True, set(), set()),
        ("ReadOnlyAdmin", SYSTEM, "all", True, set(), set()),
        ("UserRole", SYSTEM, "own", True, set(), set()),
        ("UserRole", SYSTEM, "all", False, set(), set()),
        ("PowerUserRole", SYSTEM, "own", False, set(), set()),
        ("TagManager", SYSTEM, "all", False, set(), set()),
        ("UserRole", VM, "own", False, {"v1"}, set()),
        ("VmCreator", VM, "own", False, {"v1"}, set()),
        ("ClusterAdmin", CHAIN[1], "all", False, set(), {"cluster"}),
        ("PowerUserRole", CHAIN[1], "own", False, set(), set()),
    ],
)
def test_what_a_role_lets_somebody_see(
    role: str, on: Key, asking: str, everything: bool, ids: set[str], roots: set[str]
) -> None:
    found = reach([Grant(BY_NAME[role], on)], "vm", asking)  # type: ignore[arg-type]
    assert (found.everything, found.ids, set(found.roots or ())) == (everything, ids, roots)


def test_only_an_administrative_role_makes_an_administrator() -> None:
    assert is_administrator([Grant(BY_NAME["ClusterAdmin"], CHAIN[1])])
    assert not is_administrator([Grant(BY_NAME["UserVmManager"], SYSTEM)])


# in the database: two tenants


@pytest.fixture
def store(any_store: Store) -> Store:
    add = any_store.entities.add
    with any_store.connection.transaction():
        add(Entity("data_center", "dc", "Default"))
        add(Entity("template", BLANK_TEMPLATE, "Blank"))
        for number in ("1", "2"):
            cluster, vm, disk, domain = f"c{number}", f"v{number}", f"d{number}", f"s{number}"
            add(Entity("cluster", cluster, f"tenant{number}", refs={"data_center": ("dc",)}))
            add(Entity("storage_domain", domain, f"store{number}", refs={"data_center": ("dc",)}))
            add(Entity("network", f"n{number}", f"net{number}", refs={"data_center": ("dc",)}))
            add(Entity("vnic_profile", f"p{number}", f"net{number}", refs={"network": (f"n{number}",)}))
            add(Entity("host", f"h{number}", f"node{number}", refs={"cluster": (cluster,)}))
            add(Entity("template", f"t{number}", f"tpl{number}", refs={"cluster": (cluster,)}))
            add(Entity("vm", vm, f"web{number}", refs={"cluster": (cluster,), "template": (f"t{number}",)}, status="up"))
            add(Entity("disk", disk, f"disk{number}", refs={"storage_domains": (domain,)}))
            add(Entity("disk_attachment", f"a{number}", "", refs={"disk": (disk,)}, parent=("vm", vm)))
            add(Entity("nic", f"nic{number}", "nic1", refs={"vnic_profile": (f"p{number}",)}, parent=("vm", vm)))
            add(Entity("snapshot", f"sn{number}", "", parent=("vm", vm)))
        add(Entity("disk", "free", "free", refs={"storage_domains": ("s1",)}))
        settle_rights(any_store.entities)
    return any_store


@pytest.fixture
def permits(store: Store) -> Permits:
    return Permits(store.entities)


@pytest.fixture
def users(store: Store) -> Users:
    return Users(store, Accounts(store, FakeClock()))


@pytest.fixture
def ann(users: Users) -> str:
    return users.add("ann", "correct horse").id


def seen(permits: Permits, account: str, kind: str, asking: str = "all") -> set[str]:
    only = permits.visible(account, kind, asking)  # type: ignore[arg-type]
    return {one.id for one in permits.entities.list(kind, only=only)}


KINDS = (
    "vm", "disk", "nic", "snapshot", "disk_attachment", "cluster", "data_center", "host", "storage_domain", "template",
    "network", "vnic_profile",
)  # fmt: skip


@pytest.mark.parametrize(
    ("role", "on", "sees"),
    [
        ("UserRole", ("vm", "v1"), {"vm": "v1", "disk": "d1", "nic": "nic1", "snapshot": "sn1", "disk_attachment": "a1",
                                    "cluster": "c1", "data_center": "dc"}),
        ("UserVmRunTimeManager", ("vm", "v1"), {"vm": "v1", "nic": "nic1", "snapshot": "sn1", "disk_attachment": "a1",
                                                "cluster": "c1", "data_center": "dc"}),
        ("DiskOperator", ("disk", "d2"), {"disk": "d2", "storage_domain": "s2", "data_center": "dc"}),
        ("ClusterAdmin", ("cluster", "c1"), {"vm": "v1", "disk": "d1", "nic": "nic1", "snapshot": "sn1",
                                             "disk_attachment": "a1", "cluster": "c1", "host": "h1", "template": "t1",
                                             "data_center": "dc"}),
        ("PowerUserRole", ("cluster", "c1"), {"cluster": "c1", "data_center": "dc"}),
        ("StorageAdmin", ("storage_domain", "s1"), {"storage_domain": "s1", "disk": "d1 free"}),
        ("VnicProfileUser", ("vnic_profile", "p1"), {"vnic_profile": "p1", "network": "n1"}),
        ("NetworkAdmin", ("network", "n2"), {"network": "n2", "vnic_profile": "p2"}),
        ("TemplateOwner", ("template", "t2"), {"template": "t2"}),
        ("HostAdmin", ("host", "h1"), {"host": "h1"}),
    ],
)  # fmt: skip
def test_somebody_sees_what_is_theirs_and_nothing_else(
    permits: Permits, ann: str, role: str, on: Key, sees: dict[str, str]
) -> None:
    permits.give(BY_NAME[role].id, ("user", ann), on)
    for kind in KINDS:
        wanted = set(sees.get(kind, "").split()) | ({BLANK_TEMPLATE} if kind == "template" else set())
        assert seen(permits, ann, kind) == seen(permits, ann, kind, "own") == wanted, kind


def test_who_has_nothing_sees_nothing_but_what_is_everybodys(permits: Permits, ann: str) -> None:
    for kind in KINDS:
        assert seen(permits, ann, kind) == ({BLANK_TEMPLATE} if kind == "template" else set()), kind
    assert len(seen(permits, ann, "role")) == 37
    assert seen(permits, ann, "user") == set()


def test_the_administrator_sees_everything(permits: Permits, store: Store) -> None:
    assert seen(permits, ADMIN_ID, "vm") == seen(permits, ADMIN_ID, "vm", "own") == {"v1", "v2"}
    assert permits.is_administrator(ADMIN_ID)


def test_visibility_is_part_of_the_search(permits: Permits, ann: str) -> None:
    permits.give(BY_NAME["UserRole"].id, ("user", ann), ("cluster", "c1"))
    only = permits.visible(ann, "vm")
    assert [one.id for one in permits.entities.list("vm", parse("name=web*"), only=only)] == ["v1"]
    assert permits.entities.list("vm", parse("name=web2"), only=only) == []
    assert permits.entities.count("vm", only) == 1
    assert (permits.sees(ann, ("vm", "v1")), permits.sees(ann, ("vm", "v2"))) == (True, False)


@pytest.mark.parametrize(
    ("role", "on", "permit", "key", "allowed"),
    [
        ("UserRole", ("vm", "v1"), "run_vm", ("vm", "v1"), True),
        ("UserRole", ("vm", "v1"), "run_vm", ("vm", "v2"), False),
        ("UserRole", ("vm", "v1"), "delete_vm", ("vm", "v1"), False),
        ("UserVmManager", ("vm", "v1"), "edit_disk_properties", ("disk", "d1"), True),
        ("UserVmManager", ("vm", "v1"), "edit_disk_properties", ("disk", "d2"), False),
        ("UserVmManager", ("vm", "v1"), "manipulate_vm_snapshots", ("snapshot", "sn1"), True),
        ("UserVmManager", ("vm", "v1"), "configure_vm_network", ("nic", "nic2"), False),
        ("ClusterAdmin", ("cluster", "c1"), "manipulate_host", ("host", "h1"), True),
        ("ClusterAdmin", ("cluster", "c1"), "manipulate_host", ("host", "h2"), False),
        ("ClusterAdmin", ("cluster", "c1"), "create_vm", ("cluster", "c1"), True),
        ("ClusterAdmin", ("cluster", "c1"), "create_vm", ("cluster", "c2"), False),
        ("DataCenterAdmin", ("data_center", "dc"), "delete_vm", ("vm", "v2"), True),
        ("DataCenterAdmin", ("data_center", "dc"), "edit_disk_properties", ("disk", "free"), True),
        ("StorageAdmin", ("storage_domain", "s1"), "delete_disk", ("disk", "free"), True),
        ("StorageAdmin", ("storage_domain", "s1"), "delete_disk", ("disk", "d2"), False),
        ("NetworkAdmin", ("network", "n1"), "configure_network_vnic_profile", ("vnic_profile", "p1"), True),
        ("SuperUser", None, "manipulate_users", SYSTEM, True),
        ("ClusterAdmin", ("cluster", "c1"), "manipulate_users", SYSTEM, False),
        ("UserRole", None, "run_vm", ("vm", "none"), True),
    ],
)
def test_rights_go_down_the_tree(
    permits: Permits, ann: str, role: str, on: Key | None, permit: str, key: Key, allowed: bool
) -> None:
    permits.give(BY_NAME[role].id, ("user", ann), on)
    assert permits.may(ann, permit, key).allowed == allowed
    if not allowed:
        with pytest.raises(Denied) as error:
            permits.need(ann, permit, key)
        assert error.value.code == "permit.missing"
        assert "User is not authorized to perform this action" in error.value.reason


def test_a_permit_that_does_not_exist_is_a_defect(permits: Permits, ann: str) -> None:
    with pytest.raises(ValueError, match="no permit"):
        permits.may(ann, "fly", VM)


def test_groups_and_own_roles_count(permits: Permits, store: Store, ann: str) -> None:
    store.entities.add(Entity("group", "g1", "staff"))
    store.entities.add(Entity("role", "r1", "Starter", {"administrative": False, "permits": ["run_vm"]}))
    permits.give("r1", ("group", "g1"), ("cluster", "c2"))
    assert not permits.may(ann, "run_vm", ("vm", "v2")).allowed
    store.entities.change("user", ann, lambda user: user.with_refs(groups="g1"))
    verdict = permits.may(ann, "run_vm", ("vm", "v2"))
    assert verdict.reason == "group staff has role Starter on its cluster"
    assert seen(permits, ann, "vm") == {"v2"}
    with pytest.raises(Conflict):
        store.entities.remove("role", "r1")


def test_a_permission_goes_with_its_object_and_is_given_once(permits: Permits, store: Store, ann: str) -> None:
    role = BY_NAME["UserRole"].id
    given = permits.give(role, ("user", ann), ("vm", "v1"))
    with pytest.raises(Conflict) as error:
        permits.give(role, ("user", ann), ("vm", "v1"))
    assert error.value.code == "entity.exists"
    with pytest.raises(NotFound):
        permits.give(role, ("user", ann), ("vm", "none"))
    store.entities.remove("vm", "v1")
    assert store.entities.get("permission", given.id) is None
    other = permits.give(role, ("user", ann), ("vm", "v2"))
    permits.take(other.id)
    assert seen(permits, ann, "vm") == set()


def test_the_administrators_right_stays(permits: Permits, users: Users) -> None:
    for act in (
        lambda: permits.take(ADMIN_PERMISSION),
        lambda: users.remove(ADMIN_ID),
        lambda: users.enable(ADMIN_ID, False),
    ):
        with pytest.raises(TrivetError) as error:
            act()
        assert error.value.code in ("permission.last-admin", "user.unknown")
    assert permits.may(ADMIN_ID, "manipulate_roles", SYSTEM).allowed


def test_settling_twice_adds_nothing(store: Store) -> None:
    assert settle_rights(store.entities) == 0
    assert store.entities.need("permission", ADMIN_PERMISSION).refs == {"role": (SUPER_USER,), "user": (ADMIN_ID,)}
    assert store.entities.get("group", EVERYONE) is not None


def test_every_way_up_ends(permits: Permits) -> None:
    for kind in KINDS:
        assert all(len(way) <= 6 for way in ways_up(kind)), kind
    assert permits.chain(("disk", "d1")) == (
        ("disk", "d1"), ("vm", "v1"), ("storage_domain", "s1"), ("cluster", "c1"), ("data_center", "dc"), SYSTEM,
    )  # fmt: skip


# accounts


@pytest.fixture
def accounts(users: Users) -> Iterator[Accounts]:
    yield users.accounts


def test_an_account_logs_in_and_is_found_as_a_user(users: Users, accounts: Accounts, store: Store, ann: str) -> None:
    assert accounts.verify("ann@internal", "correct horse", "::1").id == ann
    assert [one.id for one in store.entities.list("user", parse("usrname=ann@internal-authz"))] == [ann]
    with pytest.raises(Conflict) as error:
        users.add("Ann", "correct horse")
    assert error.value.code == "entity.exists"


@pytest.mark.parametrize(
    ("name", "password", "code"),
    [
        ("bob", "short", "user.password"),
        ("bob", "x" * 2000, "user.password"),
        ("robertine", "Robertine", "user.password"),
        ("bob@home", "correct horse", "user.name"),
        ("", "correct horse", "user.name"),
        ("b" * 65, "correct horse", "user.name"),
    ],
)
def test_a_bad_name_or_password_makes_no_account(users: Users, store: Store, name: str, password: str, code: str) -> None:
    with pytest.raises(Refused) as error:
        users.add(name, password)
    assert error.value.code == code
    assert password not in str(error.value) or password.casefold() == name.casefold()
    assert store.account(name, "internal") is None


def test_a_changed_password_ends_all_sessions(users: Users, accounts: Accounts, ann: str) -> None:
    account = accounts.verify("ann@internal", "correct horse", "::1")
    token = accounts.issue(account, "api", "ovirt-app-api", 3600).token
    with pytest.raises(Denied) as error:
        users.change_password(ann, "wrong", "battery staple", "::1")
    assert error.value.code == "login.wrong"
    assert accounts.holder(token, "api") is not None
    users.accounts.clock.sleep(60)
    users.change_password(ann, "correct horse", "battery staple", "::1")
    assert accounts.holder(token, "api") is None
    assert accounts.verify("ann@internal", "battery staple", "::1").id == ann
    with pytest.raises(Refused):
        users.change_password(ann, "battery staple", "battery staple", "::1")
    with pytest.raises(Denied):
        accounts.verify("ann@internal", "correct horse", "::2")


def test_a_disabled_account_is_out_at_once(users: Users, accounts: Accounts, ann: str) -> None:
    token = accounts.issue(accounts.verify("ann@internal", "correct horse", "::1"), "api", "s", 3600).token
    users.enable(ann, False)
    assert accounts.holder(token, "api") is None
    with pytest.raises(Denied) as error:
        accounts.verify("ann@internal", "correct horse", "::1")
    assert "the user account is disabled or locked" in error.value.reason
    users.enable(ann, True)
    assert accounts.verify("ann@internal", "correct horse", "::1").enabled


def test_a_removed_user_leaves_no_rights(users: Users, permits: Permits, store: Store, ann: str) -> None:
    given = permits.give(BY_NAME["UserRole"].id, ("user", ann), ("vm", "v1"))
    users.remove(ann)
    assert store.entities.get("permission", given.id) is None
    assert store.account("ann", "internal") is None
    with pytest.raises(NotFound):
        users.remove(ann)


def test_an_update_of_an_account_keeps_its_sessions(store: Store, accounts: Accounts, ann: str, tmp_path: Path) -> None:
    token = accounts.issue(accounts.verify("ann@internal", "correct horse", "::1"), "api", "s", 3600).token
    account = store.account("ann", "internal")
    assert account is not None
    store.put_account(account)
    assert accounts.holder(token, "api") == account
