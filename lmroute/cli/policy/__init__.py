"""Prove, compare, test and replay routing policies."""

VERBS = {
    "verify": "prove what can never happen, or show the smallest request that it happens to",
    "diff": "tell which requests two policies route differently",
    "test": "run the tests that stand beside the policies",
    "replay": "decide recorded calls again under another policy",
}
"""The verbs below ``lmroute policy``; see ``lmroute.cli.VERBS``."""
