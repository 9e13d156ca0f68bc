"""The DSPy side: a routing engine on DSPy 3.4's engine contract, its children, and what builds them."""

import os

# LiteLLM fetches a price table from the network when it is imported. Nobody asked it to: an offline run stays offline.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
