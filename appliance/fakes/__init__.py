"""Fakes of every port: product code, each tested like the real thing."""
