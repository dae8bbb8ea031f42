"""transformers' own tensor parallelism: each rank loads its shard from a folder, as the plan of the model's class says."""

from __future__ import annotations

import importlib.util
from typing import Any

from bench.config import RunConfig
from bench.errors import MissingExtra, Unsupported
from bench.frameworks.transformers import models, saved
from bench.frameworks.transformers.parallel import refuse_devices, refuse_heads
from bench.frameworks.transformers.pretrained import explained


def refuse(run: RunConfig, tp: int) -> None:
    """Raise Unsupported where this would not be tensor parallelism. Random weights are saved here, once for all ranks."""
    from bench.frameworks.transformers.weights import build_empty

    if importlib.util.find_spec("accelerate") is None:
        raise MissingExtra(f"framework=hf framework.tp={tp}", "accelerate", "plan")
    models.quiet()
    refuse_devices(run, tp)
    empty = build_empty(models.config_of(run.model), models.torch_dtype(run.model.dtype))
    if not empty._tp_plan:
        raise Unsupported(
            f"framework.tp={tp}, but transformers has no plan for {type(empty).__name__} and would give every rank the whole model; "
            "use framework=deepspeed_tp"
        )
    refuse_heads(models.shape_from(empty.config), tp)
    saved.folder_of(run.model, run.seed)


def build(run: RunConfig, **options: Any) -> Any:
    """This rank's shard; its parameters are the local ones. Raises Unsupported."""
    from transformers import AutoModelForCausalLM

    options |= {"dtype": models.torch_dtype(run.model.dtype), "trust_remote_code": run.model.trust_remote_code}
    with explained(run.model):
        model = AutoModelForCausalLM.from_pretrained(saved.folder_of(run.model, run.seed), **_plan(), **options).eval()
    if models.count(model) >= models.count_on_meta(models.config_of(run.model)):
        raise Unsupported(f"transformers split nothing of {run.model.name}: every rank holds the whole model; use framework=deepspeed_tp")
    return model


def _plan() -> dict[str, Any]:
    """How this version of transformers is asked for its plan."""
    from transformers.distributed import DistributedConfig

    if "tp_plan" in DistributedConfig.__dataclass_fields__:  # from 5.17
        return {"distributed_config": DistributedConfig(tp_plan="auto")}
    return {"tp_plan": "auto"}
