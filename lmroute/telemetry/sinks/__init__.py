"""Where records go: files of a day and a process, sinks of the caller's own, and what becomes of what is lost."""
