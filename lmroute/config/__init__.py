"""Configuration as text and as data: where files lie, what composing makes of them, where each value came from.

``compose`` is Hydra's only room; ``schema`` holds a document against ``schemas/v1``; ``decode`` makes the words of
``lmroute.model`` out of it. What they find are ``Diagnostic``s with file, line and column, or with the override.
Whether the whole makes sense is judged in ``lmroute.validate``, which is also the front door.
"""
