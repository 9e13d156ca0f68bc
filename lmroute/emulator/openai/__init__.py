"""The OpenAI-style routes, and their twins under ``/api/v0``.

chat        chat completions and completions              requests, tools     their bodies, checked
chat_words, text_words   what they answer                 v0                  what the twins add
responses   the newer route, with response_items (what comes in) and response_words (what goes out)
embeddings  vectors
"""
