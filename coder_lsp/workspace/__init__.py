"""The folders a user works in: which of their files are source, what they say, and when they change."""
