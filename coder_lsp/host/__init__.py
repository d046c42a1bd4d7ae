"""The model host: one process a user and model, shared by every editor window."""
