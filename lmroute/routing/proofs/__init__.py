"""What a policy can and cannot do, decided for every request at once over a finite space of boxes."""
