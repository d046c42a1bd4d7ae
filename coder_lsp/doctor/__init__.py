"""What can be wrong with an installation, one small check each, with its fix. ``cli.doctor`` runs and prints them."""
