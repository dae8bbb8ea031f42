"""A transformers model as a stateful OpenVINO model, by OpenVINO's own converter: optimum-intel excludes transformers 5.6 and later."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import Unsupported

VERSION = 1  # raise it when the same model gives another one than before
MODEL = "openvino_model.xml"
# Of the largest logit, between torch and what was converted, both in fp32: a wrong mask or a lost bias is far off.
_TOLERANCE = 1e-3
_PROMPT, _PAST = 4, 2  # tokens of the example that is traced


def write(model: Any, folder: Path, compress: str | None = None) -> None:
    """Write the model, its weights compressed to int8 or int4 by nncf where asked. Raises Unsupported where that fails or is wrong."""
    import openvino

    exact = model.dtype is torch.float32  # now: the converter changes what a model of 16 bits says
    ids = torch.arange(2 * _PROMPT).reshape(2, _PROMPT) % model.config.get_text_config().vocab_size
    with torch.no_grad():
        seen = model(input_ids=ids, use_cache=True)
    layers = [(layer.keys, layer.values) for layer in seen.past_key_values.layers]
    try:
        converted = _with_state(_traced(model, layers), len(layers))
    except Exception as error:  # the boundary: the tracer, the converter and the model's own code each have their types
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise Unsupported(f"OpenVINO cannot convert {type(model).__name__}: {last[0]}; use framework=hf for this model") from error
    _check(converted, ids.numpy(), seen.logits[:, -1].float().numpy(), exact)
    if compress:
        import nncf

        mode = {"int8": nncf.CompressWeightsMode.INT8_ASYM, "int4": nncf.CompressWeightsMode.INT4_ASYM}[compress]
        converted = nncf.compress_weights(converted, mode=mode, **({"group_size": 32} if compress == "int4" else {}))
    folder.mkdir(parents=True)
    openvino.save_model(converted, folder / MODEL, compress_to_fp16=False)
    model.config.save_pretrained(folder)


class _Step(torch.nn.Module):  # type: ignore[misc]
    """A forward pass with the KV cache as plain inputs and outputs."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, *past: Any) -> Any:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        for layer, keys, values in zip(cache.layers, past[::2], past[1::2], strict=True):
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
        # Made here: the masks that transformers makes by itself are not traced whole.
        columns = torch.arange(attention_mask.shape[1])
        causal = columns[None, :] <= columns[past[0].shape[-2] :][:, None]
        mask = causal[None, None] & (attention_mask != 0)[:, None, None, :]
        positions = {"position_ids": position_ids} if self.takes_positions else {}
        out = self.model(input_ids=input_ids, attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=1, **positions)
        return (out.logits.float(), *(part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)))


def _traced(model: Any, layers: list[tuple[Any, Any]]) -> Any:
    """The model with named inputs and outputs, the cache among them, [batch, heads, tokens, head size] each."""
    import openvino
    from openvino.frontend.pytorch import patch_model

    if model.dtype is not torch.float32:  # so patched it computes in fp32 on weights of 16 bits; precision hints decide at run time
        getattr(patch_model, "__make_16bit_traceable")(model)
    caches = [part[:, :, :_PAST].float().clone() for layer in layers for part in layer]
    example = (
        torch.zeros(2, _PROMPT, dtype=torch.long),
        torch.ones(2, _PAST + _PROMPT, dtype=torch.long),
        torch.arange(_PAST, _PAST + _PROMPT).repeat(2, 1),
        *caches,
    )
    with torch.no_grad():
        converted = openvino.convert_model(_Step(model), example_input=example)
    shapes = [[-1, -1]] * 3 + [[-1, cache.shape[1], -1, cache.shape[3]] for cache in caches]
    names = ["input_ids", "attention_mask", "position_ids", *_cache_names("past_key_values", len(layers))]
    for port, name, shape in zip(converted.inputs, names, shapes, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        port.get_node().set_partial_shape(openvino.PartialShape(shape))
    for port, name in zip(converted.outputs, ["logits", *_cache_names("present", len(layers))], strict=True):
        port.get_tensor().set_names({name})
    converted.validate_nodes_and_infer_types()
    return converted


def _cache_names(stem: str, layers: int) -> list[str]:
    return [f"{stem}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def _with_state(model: Any, layers: int) -> Any:
    """The cache kept inside the model, as GenAI wants it: gathered by beam_idx, and empty at first."""
    import openvino
    from openvino import opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    past = _cache_names("past_key_values", layers)
    beam = ops.parameter([-1], dtype=openvino.Type.i32, name="beam_idx")
    beam.output(0).get_tensor().add_names({"beam_idx"})
    model.add_parameters([beam])
    for name in past:
        port = model.input(name)
        readers = port.get_target_inputs()
        chosen = ops.gather(port, beam, ops.constant(0))
        for reader in readers:
            reader.replace_source_output(chosen.output(0))
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, dict(zip(past, _cache_names("present", layers), strict=True)))
    batch = ops.gather(ops.shape_of(model.input("input_ids"), output_type="i64"), ops.constant([0]), ops.constant(0))
    for node in model.get_ops():
        if node.get_type_name() == "ReadValue":
            sizes = [ops.constant(np.array([size.min_length], np.int64)) for size in list(node.get_output_partial_shape(0))[1:]]
            nothing = ops.constant(0.0, dtype=node.get_output_element_type(0))
            node.set_arguments([ops.broadcast(nothing, ops.concat([batch, *sizes], axis=0))])
    model.validate_nodes_and_infer_types()
    return model


def _check(model: Any, ids: Any, expected: Any, exact: bool) -> None:
    """Raise Unsupported where it computes something else than torch did."""
    import openvino

    request = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    batch, length = ids.shape
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.tile(np.arange(length), (batch, 1))}
    given["beam_idx"] = np.arange(batch, dtype=np.int32)
    named = {name for port in request.model_inputs for name in port.get_names()}
    request.infer({name: value for name, value in given.items() if name in named})
    off = abs(request.get_tensor("logits").data[:, -1] - expected).max() / abs(expected).max()
    if not off < (_TOLERANCE if exact else 0.05):  # torch itself rounds in 16 bits
        raise Unsupported(f"OpenVINO's conversion changes this model: logits are off by {off:.0%} of the largest; use framework=hf for it")
