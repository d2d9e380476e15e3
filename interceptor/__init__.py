"""Makes a plain virtual machine a first-class member of a service mesh.

The package is laid out as the daemon works: a *source* gives mesh tables, the
*mesh* core turns them into answers, *capture* turns configuration into rules,
*dns* answers, *sidecar* configures Envoy, and ``daemon`` wires them together.
Imports point downwards only: cli, daemon, {source, dns, capture, sidecar,
workload, debug}, host, mesh, then config and errors.
"""

__version__ = "0.1.0"
