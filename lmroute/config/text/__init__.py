"""One YAML text by itself: what it says, where in it, and what keeps it from saying anything.

``yaml11`` reads as Hydra does and ``yaml12`` as everybody else; ``marks`` tells positions, ``nodes`` what values do not
show, ``comments`` the rest; ``malformed`` says what is wrong with what cannot be read.
"""
