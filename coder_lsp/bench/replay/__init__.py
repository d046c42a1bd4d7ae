"""A typist replays code of real projects into the server, and into peers, key by key."""
