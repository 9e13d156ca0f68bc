"""A server that speaks LM Studio's HTTP contract, for people and CI jobs without LM Studio.

    lmroute emulator --port 0                    # from a shell
    with running(Settings()) as emulator: ...    # from a test, see lmroute.emulator.running

Every route of LM Studio is answered as LM Studio answers it: the greeting, the three model lists (OpenAI, v0,
v1), chat completions with tools, reasoning and structured output, completions, embeddings, responses, messages,
native chat, loads, unloads and downloads, API tokens, and unknown routes (status 200 and an error in the body).
Where its behaviour is not known, the docstring says so.

    settings    what one emulator is told to be                  versions    what each release of LM Studio could do
    catalog     models that can be had                           faults      what goes wrong on purpose
    running     an emulator in a thread, or as a program         app         all of it as one ASGI application
    auth        API tokens                                       house       what all routes share
    routes      the table of paths, which these bring:
                openai/, anthropic/, native/, model_lists, identity
    requests, refusals, ids    bodies of requests, of errors, and ids
    answering, failures, reasoning    one answer on its way to its client

    machine/    models on disk and in memory, what they are busy with, and the time that they go by
    transport/  sockets, bytes, and connections that idle or break
    backends/   what generates text: scripted, or llama.cpp
    control/    the emulator's own routes and page, and their use over HTTP
    lms/        a stand-in for LM Studio's own command line
"""
