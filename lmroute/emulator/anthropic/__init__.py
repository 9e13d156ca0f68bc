"""``/v1/messages``, in Anthropic's style: ``blocks`` reads what comes in, ``words`` says what goes out."""
