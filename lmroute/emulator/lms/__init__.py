"""A stand-in for ``lms``, LM Studio's own command line, that commands a running emulator.

    python -m lmroute.emulator.lms ps --json               # as a module
    python -m lmroute.emulator.lms --install DIR           # a script `lms` in DIR, for programs that run it from PATH

JSON, exit codes and oddities are those of the real ``lms``: info goes to stderr and JSON to stdout, keys are
matched loosely, every load makes another copy, and unloading what is not there prints an error and ends with 0.
One thing differs on purpose: the real ``lms`` wakes LM Studio up when it does not run; this one says how to start
the emulator, and fails.

    parser      what can be said                      commands    what each command does
    address     where the emulator is                 listing     the JSON of ls and ps
    matching    which model a loose key means         install     the script
    models      load, unload, get                     log         the server's log
    talk        words to people, and questions
"""
