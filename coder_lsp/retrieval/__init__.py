"""What of the workspace a completion should see: chunks, symbols, imports, and the search over them."""
