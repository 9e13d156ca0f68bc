"""The emulated machine: models on disk and in memory, what they are busy with, and the time that they go by."""
