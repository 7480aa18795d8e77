"""Is the tracker right and as fast as expected on this GPU? Read :mod:`run` first.

A part measures one thing and returns a :class:`setting.Result`; nothing needs data or a network.
"""
