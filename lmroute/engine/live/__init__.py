"""What is known of the servers right now, and what calls hold while they ask them: slots, pins, budgets, pauses."""

from lmroute.engine.live.facts import Live

__all__ = ["Live"]
