"""Hours of editing in several windows at once, and what they cost in memory, descriptors and time."""
