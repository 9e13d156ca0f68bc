"""A server that speaks LM Studio's HTTP contract, for people and CI jobs without LM Studio.

    lmroute emulator --port 0                    # from a shell
    with running(Settings()) as emulator: ...    # from a test, see lmroute.emulator.running

What is answered as LM Studio answers it: the greeting, the three model lists (OpenAI, v0, v1), chat
completions whole and streamed, structured output, the choice of the model that answers, API tokens, and
unknown routes (status 200 and an error in the body). Routes that LM Studio also has and the emulator does
not (embeddings, responses, messages, native chat, load and unload) are refused with status 501, never with
LM Studio's words for an unknown route. ``tools`` and ``reasoning_effort`` are ignored, as by a model that
has neither.

    versions    what each release of LM Studio could do          settings    what one emulator is told to be
    catalog     downloaded models                                state       which of them are loaded
    resolution  which model answers a request                    requests    a chat request's body, checked
    refusals    error bodies                                     model_lists, completions   success bodies
    wire        bytes: JSON, server-sent events, splits          auth        API tokens
    chat        one answer on its way to its client              routes      the table of paths
    backends/   what generates text: scripted, or llama.cpp      running     sockets, threads, signals
"""
