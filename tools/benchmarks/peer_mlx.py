"""Runs the peer cases with MLX on the CPU; see peer.py."""

import mlx.core as mx
import mlx.nn as nn

import peer

DTYPES = {"f32": mx.float32, "bf16": mx.bfloat16}


class Mlx(peer.Terms):
    def normal(self, shape, seed, dtype="f32"):
        made = mx.random.normal(shape, key=mx.random.key(seed)).astype(DTYPES[dtype])
        mx.eval(made)
        return made

    def integers(self, values):
        return mx.array(values)

    def cos_sin(self, angles):
        angles = mx.array(angles)
        return mx.cos(angles), mx.sin(angles)

    def evaluate(self, result):
        mx.eval(result)

    tanh = staticmethod(mx.tanh)
    silu = staticmethod(nn.silu)
    sqrt = staticmethod(mx.sqrt)
    sum = staticmethod(mx.sum)

    def softmax(self, x):
        return mx.softmax(x, axis=-1)

    def argmax(self, x):
        return mx.argmax(x, axis=-1)

    def rms_norm(self, x, weight=None):
        return mx.fast.rms_norm(x, weight, 1e-6)

    def layer_norm(self, x):
        return mx.fast.layer_norm(x, None, None, 1e-5)

    def permute(self, x, axes):
        return mx.transpose(x, axes)

    def concat(self, parts, axis):
        return mx.concatenate(parts, axis)

    def cast_like(self, x, other):
        return x.astype(other.dtype)

    def linear(self, x, weight, bias=None):
        y = x @ weight.T
        return y if bias is None else y + bias

    def attention(self, q, k, v, causal):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5,
                                                    mask="causal" if causal else None)

    def cross_entropy(self, logits, targets):
        return nn.losses.cross_entropy(logits.astype(mx.float32), targets, reduction="mean")

    def loss_and_gradients(self, loss, parameters):
        return mx.value_and_grad(loss)(parameters)

    def declines(self, kind, parameters):
        if kind == "lora_step" and parameters["model"].dtype == "bf16":
            return "bf16 products on the CPU are so slow in MLX that a step takes minutes"
        return None


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    peer.main(Mlx())
