"""The frame of the peers: what each case computes, in the terms of a library. A peer defines the terms (`Terms` says
which) and calls `main`, which prints a line of JSON a case, when it is over: its times in seconds, or why it is left out.

Arguments: repetitions, seconds a case, and a regular expression of the cases."""

import json
import re
import sys

import peer_decoder
from peer_cases import ROWS, cases
from timing import samples_of


class Terms:
    """What a library calls the ops that the cases are made of. Tensors have the operators of NumPy, slices, indexing
    by tensors of integers, and `reshape`."""

    def normal(self, shape, seed, dtype="f32"):
        """Standard normal data."""
        raise NotImplementedError

    def integers(self, values):
        """Data from nested lists."""
        raise NotImplementedError

    def cos_sin(self, angles):
        """{cosines, sines} of nested lists, in f32."""
        raise NotImplementedError

    def evaluate(self, result):
        """Waits for a result: a tensor, or a list of them."""
        raise NotImplementedError

    def tanh(self, x): raise NotImplementedError
    def silu(self, x): raise NotImplementedError
    def softmax(self, x): raise NotImplementedError
    def sqrt(self, x): raise NotImplementedError
    def sum(self, x): raise NotImplementedError
    def argmax(self, x): raise NotImplementedError
    def rms_norm(self, x, weight=None): raise NotImplementedError
    def layer_norm(self, x): raise NotImplementedError
    def permute(self, x, axes): raise NotImplementedError
    def concat(self, parts, axis): raise NotImplementedError
    def cast_like(self, x, other): raise NotImplementedError

    def linear(self, x, weight, bias=None):
        """weight is [out, in]."""
        raise NotImplementedError

    def attention(self, q, k, v, causal):
        """[batch, heads, length, d]; k and v may have fewer heads."""
        raise NotImplementedError

    def cross_entropy(self, logits, targets):
        """The mean over all rows, in f32."""
        raise NotImplementedError

    def loss_and_gradients(self, loss, parameters):
        """`loss` is a function of a list of parameters."""
        raise NotImplementedError

    def declines(self, kind, parameters):
        """Why a case is left out, or None."""
        del kind, parameters


def chain(x, ops):
    for i in range(ops):
        x = x * 1.0001 if i % 2 == 0 else x + 0.0001
    return x


def gelu(t, x):
    return 0.5 * x * (1.0 + t.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def prepared_lora(t, kind, p):
    d, r, dtype = p["d"], p["r"], p["dtype"]
    x, w, a, b = (t.normal(shape, i, dtype) for i, shape in enumerate([(ROWS, d), (d, d), (r, d), (d, r)]))
    if kind == "lora_delta":
        return lambda: t.linear(t.linear(x, a), b) * 2.0
    return lambda: t.linear(x, w) + 2.0 * t.linear(t.linear(x, a), b)


def prepared(t, kind, p):
    """Makes the data. Returns a function that records the case, and how many results it has."""
    if kind.startswith("lora_l") or kind == "lora_delta":
        return prepared_lora(t, kind, p), 1
    if kind == "lora_step":
        return peer_decoder.prepared_step(t, p["model"], p["rows"], p["length"]), 1
    if kind == "decode":
        return peer_decoder.prepared_decode(t, p["model"], p["tokens"]), p["tokens"]
    n = p["n"]
    if kind == "attention":
        q, k, v = (t.normal((1, 14, n, 64), seed, p["dtype"]) for seed in (1, 2, 3))
        return lambda: t.attention(q, k, v, causal=True), 1
    if kind in ("matmul", "matmul_softmax_norm"):
        a, b, c = t.normal((n, n), 1), t.normal((n, n), 2), t.normal((n,), 3)
        if kind == "matmul":
            return lambda: a @ b, 1
        return lambda: t.rms_norm(t.softmax((a @ b + c) * 2.0)), 1
    x = t.normal((n, n) if kind in ("softmax", "rms_norm", "layer_norm") else (n,), 1)
    return {"add": lambda: x + x, "chain": lambda: chain(x, p["ops"]), "gelu": lambda: gelu(t, x),
            "softmax": lambda: t.softmax(x), "rms_norm": lambda: t.rms_norm(x),
            "layer_norm": lambda: t.layer_norm(x)}[kind], 1


def main(t):
    repetitions, seconds, only = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    for key, (kind, parameters) in cases().items():
        if not re.search(only, key):
            continue
        reason = t.declines(kind, parameters)
        if reason:
            print(json.dumps({"case": key, "declined": reason}), flush=True)
            continue
        record, results = prepared(t, kind, parameters)
        samples = samples_of(lambda: t.evaluate(record()), repetitions, seconds)
        print(json.dumps({"case": key, "times": [sample / results for sample in samples]}), flush=True)
