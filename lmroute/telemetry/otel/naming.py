"""What a provider is called in the GenAI conventions.

"If one of the well-known values applies, it must be used; otherwise a custom value may be used." The kinds of local
servers have none; their own names in the same spelling are what others use as well.
"""

from __future__ import annotations

OWN = "lmroute"
"""Of a call that nobody was asked for: the attribute is required."""

_OF_TYPE = {
    "lmstudio": "lm_studio",
    "embedded": "llama_cpp",
    "llamacpp": "llama_cpp",
    "gemini": "gcp.gemini",
}
"""Types that go by another name there than in our catalogue."""

_OF_LITELLM = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
    "lm_studio": "lm_studio",
}
"""LiteLLM's word before the slash of a model, where it is not the conventions' own."""

_OF_HOST = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.moonshot.ai": "moonshot_ai",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "generativelanguage.googleapis.com": "gcp.gemini",
}
"""Services that people reach as ``openai_compatible``."""


def provider_name(type_: str | None, asked: str | None = None, address: str | None = None) -> str:
    """``gen_ai.provider.name`` of a provider by its type, the model it was asked for, and its server's host."""
    if type_ is None:
        return OWN
    if type_ == "litellm":
        before, slash, _ = (asked or "").partition("/")
        return _OF_LITELLM.get(before, before) if slash and before else type_
    if type_ == "openai_compatible":
        return _OF_HOST.get((address or "").lower(), type_)
    return _OF_TYPE.get(type_, type_)
