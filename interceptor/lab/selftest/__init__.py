"""What `interceptor doctor` tries for itself: a daemon, a resolver and a caller in namespaces.

``stage`` says what is there, ``server`` and ``recorder`` are what is called, ``client`` calls,
``session`` puts it up and takes it down.
"""
