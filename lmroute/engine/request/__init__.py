"""What is known about one request: from itself, from its caller, from the DSPy program that makes it."""
