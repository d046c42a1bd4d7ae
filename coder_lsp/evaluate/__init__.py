"""Measures what ships, on tasks with a known answer: the context that is found, and the completions it brings."""
