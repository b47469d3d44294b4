"""Frozen data that several packages share. No behaviour beyond small derived values, no effects."""
