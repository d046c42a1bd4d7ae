"""How well the user's own code is completed: places out of its history, asked for as an editor would."""
