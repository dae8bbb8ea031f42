"""transformers' `generate`, held to exactly N new tokens and telling each step: what all engines built on it share."""

from __future__ import annotations

from typing import Any

from bench.config import RunConfig
from bench.frameworks.base import OnStep, Tokens


class StepStreamer:
    """Tells when a step's tokens are on the host. `generate` calls put once for the prompt, then once per step."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._prompt_seen = False

    def put(self, _tokens: Any) -> None:  # generate hands over tokens.cpu(), which waits for the device
        if self._prompt_seen:
            self._on_step()
        self._prompt_seen = True

    def end(self) -> None:
        pass


def generate(model: Any, prompts: Tokens, new_tokens: int, on_step: OnStep, run: RunConfig, **options: Any) -> Tokens:
    """Generate [batch, new_tokens] with a transformers model, whatever EOS says; `options` go to its generate."""
    import torch

    generation = run.generation
    ids = torch.from_numpy(prompts).to(model.device)
    # transformers refuses a streamer with beams: a beam's tokens are only known at the end.
    streamer = StepStreamer(on_step) if run.measure.token_times and generation.num_beams == 1 else None
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        eos_token_id=None,  # as a keyword; in a GenerationConfig it would be filled from the model's again
        pad_token_id=0,
        use_cache=generation.use_cache,
        streamer=streamer,
        do_sample=generation.do_sample,
        num_beams=generation.num_beams,
        **generation.drawn,
        **options,
    )
    tokens: Tokens = out[:, prompts.shape[1] :].cpu().numpy()
    return tokens
