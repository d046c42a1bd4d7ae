"""The text of open documents, as the editor sends it."""
