#!/usr/bin/env python3
"""Writes tests/golden/data: tiny random models of every shape that the decoder covers, and the logits that an
independent float64 NumPy decoder (below) makes of them. Run it from anywhere:

    make_decoder_goldens.py                    writes the cases, the same files every time
    make_decoder_goldens.py --check MODEL FILE compares this decoder with FILE's `logits` for FILE's `input_ids`
"""

import argparse
import json
import math
import pathlib

import numpy as np
from safetensors.numpy import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "data"
VOCAB = 32
BATCH, LENGTH = 2, 20


# The decoder, in float64


def rope_parameters(config):
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    theta = given.get("rope_theta", config.get("rope_theta", 10000.0))
    return given.get("rope_type", given.get("type", "default")), theta, given


def inverse_frequencies(config, head_dim):
    kind, theta, given = rope_parameters(config)
    base = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if kind == "default":
        return base
    if kind == "linear":
        return base / given["factor"]
    assert kind == "llama3", kind
    factor, low, high = given["factor"], given["low_freq_factor"], given["high_freq_factor"]
    original = given["original_max_position_embeddings"]
    turns = original * base / (2 * math.pi)  # rotations of each pair within the original context
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return base * (kept + (1 - kept) / factor)


def rotate(x, angles):
    """x [batch, heads, length, d], angles [length, d / 2]; halves are paired, as in the Hugging Face layout."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def windows(config):
    layers = config["num_hidden_layers"]
    kind = config["model_type"]
    if kind == "llama":
        return [None] * layers
    if kind == "mistral":
        return [config["sliding_window"]] * layers
    if not config.get("use_sliding_window"):
        return [None] * layers
    types = config.get("layer_types") or [
        "sliding_attention" if i >= config["max_window_layers"] else "full_attention" for i in range(layers)
    ]
    return [config["sliding_window"] if t == "sliding_attention" else None for t in types]


def decode(config, weights, ids):
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    d = config.get("head_dim") or config["hidden_size"] // heads
    eps = config["rms_norm_eps"]
    batch, length = ids.shape
    position = np.arange(length)
    angles = np.outer(position, inverse_frequencies(config, d))

    def linear(name, x):
        y = x @ w[name + ".weight"].T
        return y + w[name + ".bias"] if name + ".bias" in w else y

    def split(x, count):
        return x.reshape(batch, length, count, d).transpose(0, 2, 1, 3)

    x = w["model.embed_tokens.weight"][ids]
    for layer, window in enumerate(windows(config)):
        name = f"model.layers.{layer}."
        h = rms_norm(x, w[name + "input_layernorm.weight"], eps)
        q = split(linear(name + "self_attn.q_proj", h), heads)
        k = split(linear(name + "self_attn.k_proj", h), kv_heads)
        v = split(linear(name + "self_attn.v_proj", h), kv_heads)
        if config["model_type"] == "qwen3":
            q = rms_norm(q, w[name + "self_attn.q_norm.weight"], eps)
            k = rms_norm(k, w[name + "self_attn.k_norm.weight"], eps)
        q, k = rotate(q, angles), rotate(k, angles)
        k, v = (np.repeat(t, heads // kv_heads, axis=1) for t in (k, v))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(d)
        seen = position[None, :] <= position[:, None]
        if window:
            seen &= position[None, :] > position[:, None] - window
        scores = np.where(seen, scores, -np.inf)
        p = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (p / p.sum(axis=-1, keepdims=True)) @ v
        x = x + linear(name + "self_attn.o_proj", mixed.transpose(0, 2, 1, 3).reshape(batch, length, heads * d))
        h = rms_norm(x, w[name + "post_attention_layernorm.weight"], eps)
        gate = linear(name + "mlp.gate_proj", h)
        up = linear(name + "mlp.up_proj", h)
        x = x + linear(name + "mlp.down_proj", gate / (1 + np.exp(-gate)) * up)
    x = rms_norm(x, w["model.norm.weight"], eps)
    head = "model.embed_tokens" if config.get("tie_word_embeddings") else "lm_head"
    return linear(head, x)


# The cases

CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM",
           "qwen3": "Qwen3ForCausalLM"}
LLAMA3_SCALING = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 32}

CASES = {
    # head_dim is not hidden_size / heads
    "qwen3": dict(model_type="qwen3", head_dim=12, num_key_value_heads=2, tie_word_embeddings=True,
                  rope_theta=1000000.0, torch_dtype="float32"),
    "qwen3-biases-untied": dict(model_type="qwen3", head_dim=12, num_key_value_heads=1, attention_bias=True,
                                rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    "qwen2-window-by-layer": dict(model_type="qwen2", num_hidden_layers=3, num_key_value_heads=2,
                                  use_sliding_window=True, sliding_window=5, max_window_layers=1,
                                  tie_word_embeddings=True),
    "mistral-window": dict(model_type="mistral", num_key_value_heads=2, sliding_window=7, head_dim=10),
    "llama-biases": dict(model_type="llama", num_key_value_heads=4, attention_bias=True, mlp_bias=True),
    "llama-linear-rope": dict(model_type="llama", num_key_value_heads=2, rope_theta=10000.0,
                              rope_scaling={"type": "linear", "factor": 4.0}, tie_word_embeddings=True),
    "llama3-older-keys": dict(model_type="llama", num_key_value_heads=1, rope_theta=500000.0, head_dim=12,
                              rope_scaling={"rope_type": "llama3", **LLAMA3_SCALING}, torch_dtype="float32"),
    # each query head has its own key head, by an absent num_key_value_heads; a wide rotation
    "llama-ungrouped": dict(model_type="llama", rope_theta=100.0, tie_word_embeddings=True),
}


def make_config(case):
    config = {"architectures": [CLASSES[case["model_type"]]], "vocab_size": VOCAB, "hidden_size": 24,
              "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_act": "silu",
              "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
              "bos_token_id": 1, "eos_token_id": 2}
    return {**config, **case}


def make_weights(config, rng):
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    d = config.get("head_dim", hidden // heads)
    kind = config["model_type"]
    qkv_bias = kind == "qwen2" or config.get("attention_bias", False)
    output_bias = config.get("attention_bias", False)
    mlp_bias = config.get("mlp_bias", False)
    weights = {}

    def add(name, *shape, around=0.0):
        weights[name] = (around + 0.3 * rng.standard_normal(shape)).astype(np.float32)

    def linear(name, into, out, bias):
        add(name + ".weight", out, into)
        if bias:
            add(name + ".bias", out)

    add("model.embed_tokens.weight", VOCAB, hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        add(name + "input_layernorm.weight", hidden, around=1.0)
        linear(name + "self_attn.q_proj", hidden, heads * d, qkv_bias)
        linear(name + "self_attn.k_proj", hidden, kv_heads * d, qkv_bias)
        linear(name + "self_attn.v_proj", hidden, kv_heads * d, qkv_bias)
        linear(name + "self_attn.o_proj", heads * d, hidden, output_bias)
        if kind == "qwen3":
            add(name + "self_attn.q_norm.weight", d, around=1.0)
            add(name + "self_attn.k_norm.weight", d, around=1.0)
        add(name + "post_attention_layernorm.weight", hidden, around=1.0)
        linear(name + "mlp.gate_proj", hidden, inner, mlp_bias)
        linear(name + "mlp.up_proj", hidden, inner, mlp_bias)
        linear(name + "mlp.down_proj", inner, hidden, mlp_bias)
    add("model.norm.weight", hidden, around=1.0)
    if not config["tie_word_embeddings"]:
        add("lm_head.weight", VOCAB, hidden)
    return weights


def write_case(name, case, seed):
    rng = np.random.default_rng(seed)
    config = make_config(case)
    # float16 halves the files; the values are exact in float32 and float64.
    weights = {key: value.astype(np.float16) for key, value in make_weights(config, rng).items()}
    ids = rng.integers(0, VOCAB, size=(BATCH, LENGTH), dtype=np.int64)
    logits = decode(config, weights, ids)
    directory = OUT / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    save_file({"input_ids": ids, "logits": logits.astype(np.float32)}, directory / "expected.safetensors")


def check(model, file):
    config = json.loads((model / "config.json").read_text())
    expected = load_file(file)
    logits = decode(config, load_file(model / "model.safetensors"), expected["input_ids"])
    print(f"{model.name}: max difference {np.abs(logits - expected['logits']).max():.3g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs=2, type=pathlib.Path, metavar=("MODEL", "FILE"))
    arguments = parser.parse_args()
    if arguments.check:
        check(*arguments.check)
        return
    for seed, (name, case) in enumerate(CASES.items()):
        write_case(name, case, seed)


if __name__ == "__main__":
    main()
