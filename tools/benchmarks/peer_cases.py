"""The cases that other libraries run too: our benchmark's key, and what a peer has to do."""

from dataclasses import dataclass

ROWS = 64


@dataclass(frozen=True)
class Decoder:
    """The shape of a model; the same as in bench/model_shapes.h."""
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    bias: bool
    dtype: str
    tied: bool = True  # the head is the table of embeddings


STORIES = Decoder(512, 64, 172, 5, 8, 4, 8, False, "f32")
QWEN = Decoder(151936, 896, 4864, 24, 14, 2, 64, True, "bf16")
QWEN_7B = Decoder(152064, 3584, 18944, 28, 28, 4, 128, True, "bf16", tied=False)


def cases():
    """{key of our benchmark without variant: (kind, parameters)}"""
    found = {"ops/add/n:1024": ("add", {"n": 1024}), "engine/chain_200": ("chain", {"n": 1024, "ops": 200}),
             "engine/tiny_op": ("add", {"n": 4}), "ops/gelu_plain/16M": ("gelu", {"n": 1 << 24}),
             "ops/matmul_softmax_norm/n:512": ("matmul_softmax_norm", {"n": 512})}
    for n in (64, 128, 256, 512, 1024, 2048):
        found[f"ops/matmul/n:{n}"] = ("matmul", {"n": n})
    for op in ("softmax", "rms_norm", "layer_norm"):
        found[f"ops/{op}/1024x1024"] = (op, {"n": 1024})
    for dtype in ("f32", "bf16"):
        for d in (512, 1024, 2048):
            for kind in ("lora_delta", "lora_linear"):
                found[f"lora/{kind}/{dtype}/d:{d}/r:8"] = (kind, {"d": d, "r": 8, "dtype": dtype})
        for length in (512, 1024, 2048, 4096):
            found[f"attention/causal/{dtype}/{length}"] = ("attention", {"n": length, "dtype": dtype})
    found["models/lora_step/stories260k_f32/4x256"] = ("lora_step", {"model": STORIES, "rows": 4, "length": 256})
    found["models/lora_step/qwen2.5-0.5b_bf16/1x512"] = ("lora_step", {"model": QWEN, "rows": 1, "length": 512})
    found["models/decode/stories260k"] = ("decode", {"model": STORIES, "tokens": 64})
    found["models/decode/qwen2.5-0.5b_bf16"] = ("decode", {"model": QWEN, "tokens": 8})
    return found
