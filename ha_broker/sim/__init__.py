"""A small simulated world in which the production broker runs unchanged, on a virtual clock."""
