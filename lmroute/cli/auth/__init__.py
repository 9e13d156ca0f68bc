"""Store, check and remove the keys that profiles refer to. No command shows one, or takes one as an argument.

Without a verb it tells how they stand:

  lmroute auth                              the keys of the composition's providers
  lmroute auth status openai --json         those of one, for programs
  lmroute auth set openai_key               asks for a key, and stores it in the system's keyring
  op read op://Private/OpenAI/key | lmroute auth set openai_key
  lmroute auth clear openai_key

A profile refers to what is stored with auth_token: {keyring: openai_key}. Other references are {env: NAME},
{file: path} and {command: [op, read, …]}; what they lead to is kept by whoever keeps it, and only checked here."""

VERBS = {
    "status": "which key each provider needs, where it is looked for, and whether it is there; may be left out",
    "set": "store a key in the system's keyring",
    "clear": "remove a key from the system's keyring",
}
"""The verbs below ``lmroute auth``; see ``lmroute.cli.VERBS``."""

DEFAULT = "status"
"""The one that is meant when none is given."""
