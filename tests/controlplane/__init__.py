"""A control plane of our own words for the tests: ADS in both forms, name tables, a CA, health.

`python -m tests.controlplane --help` runs it as a program; `plane.running` in process. It knows
istiod's habits by what istiod does on the wire, and it misbehaves on demand.
"""
