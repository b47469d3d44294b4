"""What the engine remembers. The only package that imports peewee.

:mod:`durable` is the database on the data disk (every commit survives a power cut); :mod:`observed` is a second one
in memory-backed
/run for what the nodes say of themselves every two seconds (a write there costs no fsync on the replicated disk).
"""
