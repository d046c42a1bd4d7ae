"""The engine that runs models with torch: on CUDA devices where it must be quick, on the processor for tests."""
