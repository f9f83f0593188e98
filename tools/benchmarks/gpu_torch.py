"""The cases of bench/gpu_bench.cpp in PyTorch, three ways: eager, compiled, and captured as a CUDA graph. Reads requests
from standard input, one a line: {"case", "repetitions", "seconds"}; answers each with one line:
{"times": {way: [seconds]}, "bytes": {way: peak}, "declined": {way: why}}."""

import gc
import json
import sys

import torch
import torch.nn.functional as F

from gpu_decoder import ALL_LINEAR, decode, lora_linear, normal, prefill, training_step
from peer_cases import QWEN, QWEN_7B
from timing import samples_of


def op(function, *shapes, dtype=torch.bfloat16):
    """What prepares a function of random tensors; each call is waited for."""
    def prepare(compiled):
        inputs, made = [normal(*shape, dtype=dtype) for shape in shapes], compiled(function)
        return torch.no_grad()(lambda: made(*inputs))

    return prepare


def lora(rows, inner, out, rank):
    def prepare(compiled):
        x, weight = normal(rows, inner), normal(out, inner)
        a, b = normal(rank, inner, dtype=torch.float32), normal(out, rank, dtype=torch.float32)
        made = compiled(lora_linear)
        return torch.no_grad()(lambda: made(x, weight, None, a, b))

    return prepare


def norm(x):
    return F.rms_norm(x, x.shape[-1:], None, 1e-6)


def softmax(x):
    return torch.softmax(x, -1)


def matmul_softmax_norm(a, b, c):
    return norm(softmax((a @ b + c) * 2.0))


def chain_of_200(x, y):
    for _ in range(100):
        x = (x + y) * y
    return x


OPS = {
    "lora_linear/bf16/64x1024x1024/r:8": lora(64, 1024, 1024, 8),
    "lora_linear/bf16/8192x4096x4096/r:16": lora(8192, 4096, 4096, 16),
    "softmax/bf16/8192x8192": op(softmax, (8192, 8192)),
    "rms_norm/bf16/8192x8192": op(norm, (8192, 8192)),
    "matmul_softmax_norm/f32/3x4": op(matmul_softmax_norm, (3, 5), (5, 4), (4,), dtype=torch.float32),
    "chain_200/f32/1024": op(chain_of_200, (1024,), (1024,), dtype=torch.float32),
}
MODELS = {
    "lora_step/qwen2.5-0.5b_bf16/8x512/r:16_all": training_step(QWEN, 8, 512, 16, ALL_LINEAR),
    "lora_step/qwen2.5-0.5b_bf16/1x512/r:8_qv": training_step(QWEN, 1, 512, 8, ("q", "v")),
    "lora_step/qwen2.5-7b_bf16/4x1024/r:16_all": training_step(QWEN_7B, 4, 1024, 16, ALL_LINEAR),
    "lora_step/qwen2.5-7b_bf16/4x1024/r:16_all_checkpointed": training_step(QWEN_7B, 4, 1024, 16, ALL_LINEAR, True),
}
for name, shape in (("qwen2.5-0.5b_bf16", QWEN), ("qwen2.5-7b_bf16", QWEN_7B)):
    MODELS[f"prefill/{name}/32x512"] = prefill(shape, 32, 512)
    for rows in (1, 32):
        MODELS[f"decode/{name}/batch:{rows}/context:512"] = decode(shape, rows, 512)


def compiled(function):
    return torch.compile(function, dynamic=False)


def captured(step):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


WAYS = {
    "eager": lambda prepare: prepare(lambda function: function),
    "compiled": lambda prepare: prepare(compiled),
    "captured": lambda prepare: captured(prepare(lambda function: function)),
}


def release():
    """The next has all memory, and compiles anew."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def measure(case, way, repetitions, seconds):
    """Ops are waited for one by one, as by a caller who needs the result; steps of a model follow one another."""
    wait = torch.cuda.synchronize
    step = WAYS[way](OPS.get(case) or MODELS[case])
    for _ in range(3):
        step()
    if case in MODELS:
        return samples_of(step, repetitions, seconds, wait)
    return samples_of(lambda: (step(), wait()), repetitions, seconds)


def answer(case, repetitions, seconds):
    found = {"times": {}, "bytes": {}, "declined": {}}
    if case not in OPS and case not in MODELS:
        return found
    for way in WAYS:
        release()
        try:
            found["times"][way] = measure(case, way, repetitions, seconds)
            found["bytes"][way] = torch.cuda.max_memory_allocated()
        except (RuntimeError, torch.cuda.OutOfMemoryError) as error:  # memory, or no compiler of its own
            found["declined"][way] = (str(error).strip().splitlines() or [type(error).__name__])[0]
    release()
    return found


def main():
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU")
    print(json.dumps({"version": torch.__version__, "gpu": torch.cuda.get_device_name()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
