"""Tell what models the servers have, and load, unload and download those of LM Studio.

Without a verb it lists:

  lmroute models                                    the servers of the composition, all at once
  lmroute models lmstudio                           one of them, or any other profile there is
  lmroute models ollama providers.ollama.endpoint=http://127.0.0.1:11435
  lmroute models --json
  lmroute models load rookery/tern-3b-instruct --context-length 16384

'lmroute models list --help' tells the options of the list."""

VERBS = {
    "list": "what each server has, what is loaded and how; the verb may be left out",
    "load": "have LM Studio get a model into memory, unless it is there",
    "unload": "have LM Studio take models out of memory",
    "download": "have LM Studio download a model, or join a download that is under way",
}
"""The verbs below ``lmroute models``; see ``lmroute.cli.VERBS``."""

DEFAULT = "list"
"""The one that is meant when none is given."""
