"""``lmroute init``: a project of one's own, from the files in ``project/`` and the schemas for editors.

In the names below ``project/`` a leading ``dot_`` stands for a dot, because hidden files get lost in packages.
"""
