"""The cases that other libraries run too: our benchmark's key, and what a peer has to do."""

ROWS = 64


def cases():
    """{key of our benchmark without variant: (kind, parameters)}"""
    found = {"ops/add/n:1024": ("add", {"n": 1024}), "engine/chain_200": ("chain", {"n": 1024, "ops": 200}),
             "engine/tiny_op": ("add", {"n": 4}), "ops/gelu_plain/16M": ("gelu", {"n": 1 << 24}),
             "ops/matmul_softmax_norm/n:512": ("matmul_softmax_norm", {"n": 512})}
    for n in (64, 256, 1024, 2048):
        found[f"ops/matmul/n:{n}"] = ("matmul", {"n": n})
    for op in ("softmax", "rms_norm", "layer_norm"):
        found[f"ops/{op}/1024x1024"] = (op, {"n": 1024})
    for dtype in ("f32", "bf16"):
        for d in (512, 1024, 2048):
            found[f"lora/lora_linear/{dtype}/d:{d}/r:8"] = ("lora_linear", {"d": d, "r": 8, "dtype": dtype})
    return found
