"""What holds for every test."""

from hypothesis import settings

# How long an example takes says something about the machine that runs it, and must not decide a test.
settings.register_profile("lmroute", deadline=None)
settings.load_profile("lmroute")
