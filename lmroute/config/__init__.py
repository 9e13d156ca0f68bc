"""Configuration as text and as data: where files lie, what composing makes of them, where each value came from.

    a file    paths (where it lies), packages and defaults (how it joins others), text/ (what its YAML says, and where)
    together  compose, resolution, tracing, refusals, launch: the only modules that import Hydra or OmegaConf
    a place   keypaths (the way to it), provenance (who wrote it), interpolation, history (``lmroute why``)
    a form    schema, authoring (of one file), breaches; decode and predicates make the words of ``lmroute.model``
    in words  complaints, secrecy (what of the user's input may be shown)

What they find are ``Diagnostic``s with file, line and column, or with the override. Whether the whole makes sense is
judged in ``lmroute.validate``, which is also the front door.
"""
