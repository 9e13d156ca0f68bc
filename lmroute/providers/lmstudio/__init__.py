"""LM Studio's contract: what it calls models, what its refusals mean, how models are loaded and fetched.

Verified against LM Studio 0.3.5 to 0.4.25. Nothing here asks for a version; the server shows what it can. What it has,
loaded or not, is read in ``lmroute.providers.inventory``.
"""

from lmroute.providers.lmstudio.meanings import meaning_of, phrase_in, without_token
from lmroute.providers.lmstudio.names import is_same_model

__all__ = ["is_same_model", "meaning_of", "phrase_in", "without_token"]
