"""Many subjects and sessions, each in a process of its own: what is done already, where there is room, who failed."""
