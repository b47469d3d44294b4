"""The tables as peewee sees them. Their shape is made by the migrations, not by these classes."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, IntegerField, Model, TextField


class Start(Model):
    epoch = IntegerField(primary_key=True)
    host = TextField()
    version = TextField()
    boot_id = TextField()
    wall_ms = BigIntegerField()


class Account(Model):
    id = TextField(primary_key=True)
    name = TextField()
    domain = TextField()
    password_hash = TextField()
    enabled = IntegerField()


class Token(Model):
    digest = TextField(primary_key=True)
    account_id = TextField()
    kind = TextField()
    scope = TextField()
    issued_ms = BigIntegerField()
    expires_ms = BigIntegerField()


class Event(Model):
    id = IntegerField(primary_key=True)
    wall_ms = BigIntegerField()
    code = IntegerField()
    severity = TextField()
    origin = TextField()
    description = TextField()
    custom_id = IntegerField(null=True)
    correlation_id = TextField()
    account_id = TextField()
    host_id = TextField()
    vm_id = TextField()
    extra = TextField()


class Item(Model):
    """An inventory object. ``body`` is JSON; ``kind`` is host, cluster, data_center, storage_domain or vm."""

    kind = TextField()
    id = TextField()
    name = TextField()
    body = TextField()

    class Meta:
        primary_key = CompositeKey("kind", "id")


class Setting(Model):
    name = TextField(primary_key=True)
    value = TextField()


TABLES = (Start, Account, Token, Event, Item, Setting)


class Observation(Model):
    """In /run: the last thing a node said of one kind. ``monotonic_s`` is this machine's clock when it was heard."""

    node = TextField()
    kind = TextField()
    body = TextField()
    monotonic_s = TextField()

    class Meta:
        primary_key = CompositeKey("node", "kind")
