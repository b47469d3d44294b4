"""The page on every node that works while the engine is down: who runs it, why not, until when."""
