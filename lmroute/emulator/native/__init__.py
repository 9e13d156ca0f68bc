"""LM Studio's own routes under ``/api/v1``: chat with named events, loads, unloads and downloads."""
