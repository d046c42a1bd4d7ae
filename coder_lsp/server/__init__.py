"""The language server: the only package, with host, that knows pygls and lsprotocol."""
