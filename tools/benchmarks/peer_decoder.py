"""A decoder of the Llama family in a peer's terms: a LoRA training step (rank 8 on q and v), and greedy decoding."""

RANK, SCALE, THETA = 8, 2.0, 10000.0
BETAS, EPS, RATE, MAX_NORM = (0.9, 0.999), 1e-8, 1e-4, 1.0


def _weights(t, c):
    made = iter(range(1, 1 << 20))

    def draw(*shape):
        return t.normal(shape, next(made), c.dtype) * 0.02

    def norm():
        return draw(c.hidden) + 1.0

    def projection(out, inner, biased=False):
        return draw(out, inner), draw(out) if biased else None

    q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    layers = [{"norm1": norm(), "norm2": norm(), "q": projection(q, c.hidden, c.bias),
               "k": projection(kv, c.hidden, c.bias), "v": projection(kv, c.hidden, c.bias),
               "o": projection(c.hidden, q), "gate": projection(c.intermediate, c.hidden),
               "up": projection(c.intermediate, c.hidden), "down": projection(c.hidden, c.intermediate)}
              for _ in range(c.layers)]
    return {"embed": draw(c.vocab, c.hidden), "norm": norm(), "layers": layers}


def _rope_tables(t, c, count):
    rates = [THETA ** (-2 * i / c.head_dim) for i in range(c.head_dim // 2)]
    angles = [[position * rate for rate in rates] for position in range(count)]
    return t.cos_sin(angles)


def _rotate(t, x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return t.cast_like(t.concat([a * cos - b * sin, b * cos + a * sin], -1), x)


def _hidden(t, c, w, ids, tables, adapter=None, caches=None, start=0):
    """Hidden states after the last norm, and the caches."""
    rows, length = ids.shape
    cos, sin = (table[start:start + length] for table in tables)
    seen = []

    def heads(x, count):
        return t.permute(x.reshape(rows, length, count, c.head_dim), (0, 2, 1, 3))

    def projected(x, number, name):
        y = t.linear(x, *w["layers"][number][name])
        if adapter is None or name not in ("q", "v"):
            return y
        at = 4 * number + (2 if name == "v" else 0)
        low = t.linear(t.linear(t.cast_like(x, adapter[at]), adapter[at]), adapter[at + 1])
        return y + t.cast_like(low * SCALE, y)

    x = w["embed"][ids]
    for number, layer in enumerate(w["layers"]):
        h = t.rms_norm(x, layer["norm1"])
        q = _rotate(t, heads(projected(h, number, "q"), c.heads), cos, sin)
        k = _rotate(t, heads(projected(h, number, "k"), c.kv_heads), cos, sin)
        v = heads(projected(h, number, "v"), c.kv_heads)
        if caches:
            k, v = t.concat([caches[number][0], k], 2), t.concat([caches[number][1], v], 2)
        seen.append((k, v))
        mixed = t.permute(t.attention(q, k, v, causal=length > 1), (0, 2, 1, 3))
        x = x + t.linear(mixed.reshape(rows, length, c.heads * c.head_dim), *layer["o"])
        h = t.rms_norm(x, layer["norm2"])
        x = x + t.linear(t.silu(t.linear(h, *layer["gate"])) * t.linear(h, *layer["up"]), *layer["down"])
    return t.rms_norm(x, w["norm"]), seen


def _adamw(t, parameters, gradients, moments, count):
    """Clips, updates; {new parameters, new moments}."""
    norm = t.sqrt(sum(t.sum(g * g) for g in gradients))
    scale = MAX_NORM / (norm + MAX_NORM)  # smooth, so that no library has to read a number
    updated, kept = [], []
    for p, g, (m, v) in zip(parameters, gradients, moments):
        g = g * scale
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g
        unbiased = (m / (1 - BETAS[0] ** count)) / (t.sqrt(v / (1 - BETAS[1] ** count)) + EPS)
        updated.append(p - RATE * unbiased)
        kept.append((m, v))
    return updated, kept


def prepared_step(t, c, rows, length):
    """A function that takes a training step from the same state each time."""
    w, tables = _weights(t, c), _rope_tables(t, c, length)
    ids = t.integers([[(row * length + i) * 7919 % c.vocab for i in range(length)] for row in range(rows)])
    outs = {"q": c.heads * c.head_dim, "v": c.kv_heads * c.head_dim}
    shapes = [shape for _ in range(c.layers) for name in ("q", "v")
              for shape in ((RANK, c.hidden), (outs[name], RANK))]
    adapter = [t.normal(shape, 7 + i) * 0.02 for i, shape in enumerate(shapes)]
    moments = [(p * 0.0, p * 0.0) for p in adapter]

    def loss(parameters):
        hidden, _ = _hidden(t, c, w, ids, tables, parameters)
        logits = t.linear(hidden[:, :-1].reshape(-1, c.hidden), w["embed"])
        return t.cross_entropy(logits, ids[:, 1:].reshape(-1))

    def step():
        value, gradients = t.loss_and_gradients(loss, adapter)
        updated, kept = _adamw(t, adapter, gradients, moments, 1)
        return [value, *updated, *(moment for pair in kept for moment in pair)]

    return step


def prepared_decode(t, c, tokens):
    """A function that decodes `tokens` after a prompt of 8."""
    w, tables = _weights(t, c), _rope_tables(t, c, 8 + tokens)
    prompt = t.integers([list(range(1, 9))])

    def likeliest(hidden):
        return t.argmax(t.linear(hidden[:, -1:], w["embed"])).reshape(1, 1)

    hidden, first_caches = _hidden(t, c, w, prompt, tables)
    first = likeliest(hidden)
    t.evaluate([first, *(part for pair in first_caches for part in pair)])

    def decode():
        token, caches = first, first_caches
        for i in range(tokens):
            hidden, caches = _hidden(t, c, w, token, tables, caches=caches, start=8 + i)
            token = likeliest(hidden)
            t.evaluate(token)
        return token

    return decode
