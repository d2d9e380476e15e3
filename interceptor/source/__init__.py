"""Where the mesh table comes from: each source is an async stream of events.

``files`` reads YAML and JSON documents, ``nametable`` istiod's name table as a
file. Both offer ``load`` (once, for offline commands; changes nothing on the
host) and ``watch`` (a stream of `event.Loaded` and `event.Rejected`).
"""
