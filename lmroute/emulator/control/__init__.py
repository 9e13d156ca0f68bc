"""The emulator's own routes, which LM Studio does not have: what it is doing, and telling it what to do."""
