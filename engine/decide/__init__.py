"""Pure decisions of the engine: plain data in, a plan with a reason out. No os, time, random, flask, peewee or lxml here."""
