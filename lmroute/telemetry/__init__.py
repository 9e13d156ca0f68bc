"""What happened, as data: call records and where they go."""
