"""How the engine VM comes up: :mod:`seed` reads what this start is, :mod:`data` makes the data disk usable, once or
again."""
