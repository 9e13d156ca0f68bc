"""``lmroute policy test``: requests that a policy must answer in a certain way, in ``conf/routing/tests/*.yaml``.

    discovery.py -> reading.py (words.py) -> running.py (expecting.py, places.py) -> text.py, json_.py, junit.py

Such a file is no option of any group and takes part in no composition; as a file, ``lmroute validate`` checks it like
all others. What it says is tried out by ``lmroute.routing`` alone: no server, no clock, no DSPy.
"""
