"""The path of one request in the front: gate, shape, ask the host, post-process."""
