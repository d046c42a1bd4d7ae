"""Model files: the catalogue, the store on disk, and getting a file there safely."""
