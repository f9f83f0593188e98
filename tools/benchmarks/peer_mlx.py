"""Runs the peer cases with MLX on the CPU; prints {case: [seconds]} as JSON. Arguments: repetitions, seconds a case."""

import json
import sys

import mlx.core as mx
from timing import samples_of

from peer_cases import ROWS, cases

DTYPES = {"f32": mx.float32, "bf16": mx.bfloat16}


def normal(shape, seed, dtype=mx.float32):
    made = mx.random.normal(shape, key=mx.random.key(seed)).astype(dtype)
    mx.eval(made)
    return made


def chain(x, ops):
    for i in range(ops):
        x = x * 1.0001 if i % 2 == 0 else x + 0.0001
    return x


def gelu(x):
    return 0.5 * x * (1.0 + mx.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def prepared(kind, p):
    """A function that records the case."""
    if kind == "lora_linear":
        dtype, d, r = DTYPES[p["dtype"]], p["d"], p["r"]
        x, w, a, b = (normal(shape, i, dtype) for i, shape in enumerate([(ROWS, d), (d, d), (r, d), (d, r)]))
        return lambda: x @ w.T + 2.0 * ((x @ a.T) @ b.T)
    n = p["n"]
    if kind == "matmul":
        a, b = normal((n, n), 1), normal((n, n), 2)
        return lambda: a @ b
    if kind == "matmul_softmax_norm":
        a, b, c = normal((n, n), 1), normal((n, n), 2), normal((n,), 3)
        return lambda: mx.fast.rms_norm(mx.softmax((a @ b + c) * 2.0, axis=-1), None, 1e-6)
    x = normal((n, n) if kind in ("softmax", "rms_norm", "layer_norm") else (n,), 1)
    return {"add": lambda: x + x, "chain": lambda: chain(x, p["ops"]), "gelu": lambda: gelu(x),
            "softmax": lambda: mx.softmax(x, axis=-1), "rms_norm": lambda: mx.fast.rms_norm(x, None, 1e-6),
            "layer_norm": lambda: mx.fast.layer_norm(x, None, None, 1e-5)}[kind]


def main():
    mx.set_default_device(mx.cpu)
    repetitions, seconds = int(sys.argv[1]), float(sys.argv[2])
    times = {}
    for key, (kind, parameters) in cases().items():
        record = prepared(kind, parameters)
        times[key] = samples_of(lambda: mx.eval(record()), repetitions, seconds)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
