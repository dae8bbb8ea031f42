"""How evenly a mixture of experts shares out its tokens: a router with random weights may send nearly all of them to a few."""

from __future__ import annotations

from typing import Any

from bench.frameworks.base import Tokens

_MOST_TOKENS = 2048  # that are looked at: more would tell nothing new, and take memory that the next point needs


def busiest_share(model: Any, tokens: Tokens, active: int) -> float | None:
    """The part of a layer's work that its busiest expert gets on these tokens [batch, tokens], mean of the layers.

    None where the model does not tell its routing, or no memory is left to look at it.
    """
    import torch

    batch = max(1, _MOST_TOKENS // tokens.shape[1])
    ids = torch.from_numpy(tokens[:batch, :_MOST_TOKENS]).to(model.device)
    try:
        with torch.inference_mode():
            told = model(input_ids=ids, output_router_logits=True, logits_to_keep=1, use_cache=False)
            layers = getattr(told, "router_logits", None) or ()
            counts = [torch.bincount(logits.topk(active, dim=-1).indices.flatten(), minlength=logits.shape[-1]) for logits in layers]
    except (RuntimeError, TypeError):  # the row is worth having without it
        return None
    return sum(float(count.max() / count.sum()) for count in counts) / len(counts) if counts else None
