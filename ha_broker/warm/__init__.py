"""Saved memory of a standby engine VM: made beforehand on each node, so that a start wakes the engine."""
