"""Hosts made of network namespaces: for the demo, the tests and the benchmarks.

``description`` says as data which hosts there are and what they serve, ``world``
builds and removes them, ``agent`` runs interceptor on one of them, ``service``
is the program that the service hosts run. ``demo`` and ``bench`` stand on these.
"""
