"""What is intercepted, and by which mechanism of the kernel.

``plan`` derives ordered rules from configuration and host facts, ``scope``
decides the fate of one flow by the same rules; both are pure. ``backend`` is
the seam of five methods, ``iptables`` and ``nftables`` render and install a
plan, ``journal`` keeps the inverse of every step before it is taken.
"""
