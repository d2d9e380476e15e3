"""Everything that makes a decision visible: logs, metrics, status, explain.

Nothing here decides anything; it reads what the core says (``capture.scope``,
``mesh``) and shows it.
"""
