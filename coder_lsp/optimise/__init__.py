"""Weights for the processor at hand: measures what formats cost and gain here, and writes a model file accordingly."""
