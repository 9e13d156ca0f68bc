"""A server that speaks LM Studio's HTTP contract, for people and CI jobs without LM Studio.

    lmroute emulator --port 0                    # from a shell
    with running(Settings()) as emulator: ...    # from a test, see lmroute.emulator.running

Every route of LM Studio is answered as LM Studio answers it: the greeting, the three model lists (OpenAI, v0,
v1), chat completions with tools, reasoning and structured output, completions, embeddings, responses, messages,
native chat, loads, unloads and downloads, API tokens, and unknown routes (status 200 and an error in the body).
Where its behaviour is not known, the docstring says so.

    versions    what each release of LM Studio could do          settings    what one emulator is told to be
    catalog     downloaded models                                state, instances    which of them are loaded
    resolution  which model answers a request                    clock       the time that loads and TTLs go by
    requests    what all request bodies have in common           ids         ids as LM Studio makes them
    openai/, anthropic/, native*, loads, model_lists, identity   the routes, each with its bodies
    routes      the table of them                                house       what all of them share
    answering   one answer on its way to its client              generation  text from the backend, for one request
    reasoning   where a route puts what a model thinks           failures    what is said when a generation fails
    refusals    error bodies                                     auth        API tokens
    wire        bytes: JSON, server-sent events, splits          connection  connections that idle
    faults, wire_faults   what goes wrong on purpose             control, remote, page, snapshot, journal
                                                                             the emulator's own routes, and their use
    backends/   what generates text: scripted, or llama.cpp      running     sockets, threads, signals
    lms/        a stand-in for LM Studio's own command line
"""
