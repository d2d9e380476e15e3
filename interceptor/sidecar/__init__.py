"""The sidecar: Envoy on this VM, its bootstrap, its configuration by ADS, its life.

``bootstrap``, ``resources`` and what they are made of (``setting``, ``claim``, ``listener``,
``cluster``, ``endpoint``, ``inbound``, ``accesslog``, ``resource``, ``stream``) are pure;
``ads``, ``admin``, ``binary`` and ``process`` have effects.
"""
