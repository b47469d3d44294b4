"""The tables as peewee sees them. Their shape is made by the migrations, not by these classes."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, IntegerField, Model, TextField


class Start(Model):
    """A start of the engine VM that went active: its epoch, the node, and when (wall clock, ms since 1970)."""

    epoch = IntegerField(primary_key=True)
    host = TextField()
    version = TextField()
    boot_id = TextField()
    wall_ms = BigIntegerField()


class Account(Model):
    """Somebody who may log in. ``password_hash`` is argon2id in PHC form; ``enabled`` 0 or 1."""

    id = TextField(primary_key=True)
    name = TextField()
    domain = TextField()
    password_hash = TextField()
    enabled = IntegerField()


class Token(Model):
    """A bearer token or web session: only the SHA-256 ``digest`` of it is kept. Times in ms since 1970."""

    digest = TextField(primary_key=True)
    account_id = TextField()
    kind = TextField()
    scope = TextField()
    issued_ms = BigIntegerField()
    expires_ms = BigIntegerField()


class Item(Model):
    """An inventory object. ``body`` is JSON; ``kind`` is host, cluster, data_center, storage_domain or vm."""

    kind = TextField()
    id = TextField()
    name = TextField()
    body = TextField()

    class Meta:
        primary_key = CompositeKey("kind", "id")


class Setting(Model):
    """A value the engine keeps about itself, by name."""

    name = TextField(primary_key=True)
    value = TextField()


TABLES = (Start, Account, Token, Item, Setting)


class Observation(Model):
    """In /run: the last thing a node said of one kind. ``monotonic_s`` is this machine's clock when it was heard, ``saying``
    names the body: another body, another name."""

    node = TextField()
    kind = TextField()
    body = TextField()
    monotonic_s = TextField()
    saying = TextField(index=True)

    class Meta:
        primary_key = CompositeKey("node", "kind")
