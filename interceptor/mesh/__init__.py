"""What the mesh says, as values. Pure: nothing here reads a file or a clock.

``model`` holds the vocabulary (Host, Port, Endpoint), ``istio`` reads YAML
documents into it, ``nametable`` reads istiod's name table into it, ``vip``
gives stable addresses to hosts that have none, ``table`` is the whole at one
moment with its differences, and ``answer`` says what DNS gets for a name.
"""
