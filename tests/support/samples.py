"""Small files that the default model is sure about."""

from __future__ import annotations

ADD = 'def add(a, b):\n    """Return the sum of a and b."""\n    return a \n\n\nprint(add(1, 2))\n'
"""Asked behind ``return a ``, the default model says ``+ b``."""

QUEUE = '''class Queue:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        """Remove and return the oldest item; raise IndexError if the queue is empty."""

'''
"""At the end the model writes a body."""
