"""What ``run.py`` runs: a task over labelled data with a routed LM, measured, shown and written down."""
