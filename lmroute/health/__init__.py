"""Health: what the servers of a configuration are like right now, and what that means for its rules."""
