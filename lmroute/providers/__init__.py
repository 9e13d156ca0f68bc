"""Talking to servers: the guarded connection, the catalogue of server types, LM Studio, the embedded model."""
