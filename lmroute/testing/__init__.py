"""What tests of other programs need: LM Studio's server without LM Studio.

    lmstudio    pytest fixtures; switched on with pytest_plugins = ["lmroute.testing.lmstudio"]
    received    the requests that a server got

Nothing else in lmroute imports this room, so lmroute does not need pytest.
"""
