"""Runs the peer cases with PyTorch on the CPU; prints {case: [seconds]} as JSON. Arguments: repetitions, seconds a
case."""

import json
import sys

import torch
import torch.nn.functional as F
from timing import samples_of

from peer_cases import ROWS, cases

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def normal(shape, seed, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def chain(x, ops):
    for i in range(ops):
        x = x * 1.0001 if i % 2 == 0 else x + 0.0001
    return x


def gelu(x):
    return 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def prepared(kind, p):
    if kind == "lora_linear":
        dtype, d, r = DTYPES[p["dtype"]], p["d"], p["r"]
        x, w, a, b = (normal(shape, i, dtype) for i, shape in enumerate([(ROWS, d), (d, d), (r, d), (d, r)]))
        return lambda: F.linear(x, w) + 2.0 * F.linear(F.linear(x, a), b)
    n = p["n"]
    if kind == "matmul":
        a, b = normal((n, n), 1), normal((n, n), 2)
        return lambda: a @ b
    if kind == "matmul_softmax_norm":
        a, b, c = normal((n, n), 1), normal((n, n), 2), normal((n,), 3)
        return lambda: F.rms_norm(torch.softmax((a @ b + c) * 2.0, -1), (n,), eps=1e-6)
    x = normal((n, n) if kind in ("softmax", "rms_norm", "layer_norm") else (n,), 1)
    return {"add": lambda: x + x, "chain": lambda: chain(x, p["ops"]), "gelu": lambda: gelu(x),
            "softmax": lambda: torch.softmax(x, -1), "rms_norm": lambda: F.rms_norm(x, (n,), eps=1e-6),
            "layer_norm": lambda: F.layer_norm(x, (n,), eps=1e-5)}[kind]


@torch.inference_mode()
def main():
    repetitions, seconds = int(sys.argv[1]), float(sys.argv[2])
    print(json.dumps({key: samples_of(prepared(kind, parameters), repetitions, seconds)
                      for key, (kind, parameters) in cases().items()}))


if __name__ == "__main__":
    main()
