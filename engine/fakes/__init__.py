"""Stand-ins for the engine's ports, with the same meaning as the real ones; under the same tests where there are both."""
