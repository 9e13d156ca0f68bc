"""Tell why a request goes where it goes."""

VERBS = {"explain": "follow one request through the policy: rules, tests, candidates and their order"}
"""The verbs below ``lmroute route``; see ``lmroute.cli.VERBS``."""
