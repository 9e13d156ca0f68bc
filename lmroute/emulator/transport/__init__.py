"""Connections and bytes: sockets, server-sent events, keep-alive, and what goes wrong with them on purpose."""
