"""Runs the peer cases with PyTorch on the CPU; see peer.py."""

import torch
import torch.nn.functional as F

import peer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Torch(peer.Terms):
    def normal(self, shape, seed, dtype="f32"):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DTYPES[dtype])

    def integers(self, values):
        return torch.tensor(values)

    def cos_sin(self, angles):
        angles = torch.tensor(angles)
        return torch.cos(angles), torch.sin(angles)

    def evaluate(self, result):
        del result  # PyTorch computed it already

    tanh = staticmethod(torch.tanh)
    silu = staticmethod(F.silu)
    sqrt = staticmethod(torch.sqrt)
    sum = staticmethod(torch.sum)

    def softmax(self, x):
        return torch.softmax(x, -1)

    def argmax(self, x):
        return torch.argmax(x, -1)

    def rms_norm(self, x, weight=None):
        return F.rms_norm(x, x.shape[-1:], weight, 1e-6)

    def layer_norm(self, x):
        return F.layer_norm(x, x.shape[-1:], eps=1e-5)

    def permute(self, x, axes):
        return x.permute(axes)

    def concat(self, parts, axis):
        return torch.cat(parts, axis)

    def cast_like(self, x, other):
        return x.to(other.dtype)

    def linear(self, x, weight, bias=None):
        return F.linear(x, weight, bias)

    def attention(self, q, k, v, causal):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])

    def cross_entropy(self, logits, targets):
        return F.cross_entropy(logits.float(), targets)

    def loss_and_gradients(self, loss, parameters):
        parameters = [p.detach().requires_grad_() for p in parameters]
        with torch.enable_grad():
            value = loss(parameters)
            return value.detach(), torch.autograd.grad(value, parameters)


if __name__ == "__main__":
    with torch.no_grad():
        peer.main(Torch())
