"""What became of suggestions: kept on this machine as numbers, summed up, and learned from."""
