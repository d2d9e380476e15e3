"""What this host can do and what stands in the way: rules over facts, all of it pure.

``fact`` holds what was seen, each other module judges one part of it in ``check``'s words.
"""
