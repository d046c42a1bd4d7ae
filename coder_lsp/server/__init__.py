"""The language server: the only package, with host, that knows pygls and lsprotocol.

``transport`` moves bytes, ``protocol`` guards what comes in, ``sync`` keeps documents in step, ``handlers`` answers
requests through ``convert``, and ``server`` puts them together around the seams of ``ports``. Importing it loads
neither a model library nor the network.
"""
