"""The DNS plane of user space: mesh names answered, everything else untouched.

It runs in a process of its own (``worker``), so that nothing the daemon does
can delay a packet, and so that a hung one can be seen and replaced (``plane``).
Within it: ``wire`` (bytes and values), ``responder`` (ready answers), ``packet``
(IP and UDP around them), ``nfqueue`` and ``tcp`` (the two ways queries arrive).
"""
