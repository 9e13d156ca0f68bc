"""Routing as pure functions: no I/O, no clock, nothing imported but the standard library and floor 0."""
