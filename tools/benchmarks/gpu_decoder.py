"""A decoder of the Llama family in PyTorch on a GPU, as plainly as its fused ops allow: LoRA training steps, prompts,
greedy decoding. `compiled` is applied to what is worth compiling: a layer, and the loss."""

import functools

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

SCALE, THETA, EPS = 2.0, 1e6, 1e-6
ALL_LINEAR = ("q", "k", "v", "o", "gate", "up", "down")


def normal(*shape, dtype=torch.bfloat16):
    return torch.randn(shape, dtype=dtype, device="cuda") * 0.02


def rms_norm(x, weight):
    return F.rms_norm(x, x.shape[-1:], weight, EPS)


def lora_linear(x, weight, bias, a, b):
    """With factors in f32, which take part in the dtype of x; without, where there are none."""
    y = F.linear(x, weight, bias)
    return y if a is None else y + SCALE * F.linear(F.linear(x, a.to(x.dtype)), b.to(x.dtype))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def layer(x, w, cos, sin, cache=None):
    """`cache`: keys and values of earlier positions, with room for one more at the end."""
    rows, length, _ = x.shape

    def heads(y):
        return y.view(rows, length, -1, cos.shape[-1]).transpose(1, 2)

    h = rms_norm(x, w["norm1"])
    q = rotate(heads(lora_linear(h, *w["q"])), cos, sin)
    k = rotate(heads(lora_linear(h, *w["k"])), cos, sin)
    v = heads(lora_linear(h, *w["v"]))
    if cache is not None:
        cache[0][:, :, -1:], cache[1][:, :, -1:] = k, v
        k, v = cache
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None, enable_gqa=True)
    x = x + lora_linear(mixed.transpose(1, 2).reshape(rows, length, -1), *w["o"])
    h = rms_norm(x, w["norm2"])
    return x + lora_linear(F.silu(lora_linear(h, *w["gate"])) * lora_linear(h, *w["up"]), *w["down"])


def loss_of(x, norm, head, targets):
    return F.cross_entropy(F.linear(rms_norm(x, norm), head).float(), targets)


class Model:
    def __init__(self, c, rank=0, adapted=()):
        """Random weights, and factors of `rank` for the linear layers that are `adapted`."""
        self.c, self.factors = c, []
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
        sizes = {"q": (q, c.hidden), "k": (kv, c.hidden), "v": (kv, c.hidden), "o": (c.hidden, q),
                 "gate": (c.intermediate, c.hidden), "up": (c.intermediate, c.hidden), "down": (c.hidden, c.intermediate)}

        def linear(name, out, inner):
            bias = normal(out) if c.bias and name in ("q", "k", "v") else None
            if name not in adapted:
                return normal(out, inner), bias, None, None
            factors = [normal(*shape, dtype=torch.float32).requires_grad_() for shape in ((rank, inner), (out, rank))]
            self.factors += factors
            return normal(out, inner), bias, *factors

        self.layers = [{"norm1": normal(c.hidden) + 1, "norm2": normal(c.hidden) + 1,
                        **{name: linear(name, *size) for name, size in sizes.items()}} for _ in range(c.layers)]
        self.embed, self.norm = normal(c.vocab, c.hidden), normal(c.hidden) + 1
        self.head = self.embed if c.tied else normal(c.vocab, c.hidden)

    def ids(self, rows, length):
        return (torch.arange(rows * length, device="cuda") * 7919 % self.c.vocab).view(rows, length)

    def rotation(self, start, length):
        rates = THETA ** (-torch.arange(0, self.c.head_dim, 2, device="cuda") / self.c.head_dim)
        angles = torch.outer(torch.arange(start, start + length, device="cuda"), rates).repeat(1, 2)
        return angles.cos().bfloat16(), angles.sin().bfloat16()

    def likeliest(self, x):
        return F.linear(rms_norm(x[:, -1:], self.norm), self.head).argmax(-1)


def training_step(c, rows, length, rank, adapted, checkpointed=False):
    def prepare(compiled):
        model = Model(c, rank, adapted)
        optimizer = torch.optim.AdamW(model.factors, lr=1e-4, weight_decay=0.0, fused=True, capturable=True)
        ids, (cos, sin) = model.ids(rows, length), model.rotation(0, length)
        one_layer, loss = compiled(layer), compiled(loss_of)
        if checkpointed:
            one_layer = functools.partial(checkpoint, one_layer, use_reentrant=False)

        def step():
            x = F.embedding(ids, model.embed)
            for w in model.layers:
                x = one_layer(x, w, cos, sin)
            loss(x[:, :-1].flatten(0, 1), model.norm, model.head, ids[:, 1:].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(model.factors, 1.0, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    return prepare


def prefill(c, rows, length):
    def prepare(compiled):
        model = Model(c)
        ids, (cos, sin), one_layer = model.ids(rows, length), model.rotation(0, length), compiled(layer)

        @torch.no_grad()
        def step():
            x = F.embedding(ids, model.embed)
            for w in model.layers:
                x = one_layer(x, w, cos, sin)
            return model.likeliest(x)

        return step

    return prepare


def decode(c, rows, context):
    """One token a row behind `context` positions; the token stays on the GPU."""
    def prepare(compiled):
        model = Model(c)
        ids, (cos, sin), one_layer = model.ids(rows, 1), model.rotation(context, 1), compiled(layer)
        caches = [normal(2, rows, c.kv_heads, context + 1, c.head_dim).unbind() for _ in range(c.layers)]

        @torch.no_grad()
        def step():
            x = F.embedding(ids, model.embed)
            for w, cache in zip(model.layers, caches):
                x = one_layer(x, w, cos, sin, cache)
            ids.copy_(model.likeliest(x))

        return step

    return prepare
