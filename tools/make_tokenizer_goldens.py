#!/usr/bin/env python3
"""Writes tests/tokenizer/data: small tokenizers of the shapes that the Llama, Mistral and Qwen families use, and what
the `tokenizers` library (0.23) makes of texts, ids and single steps. Run it from anywhere; it takes no arguments and
gives the same files every time."""

import collections
import json
import pathlib
import random

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "tokenizer" / "data"

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_WORDS = LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")

CORPUS = [
    "The garden was quiet in the morning, and the garden was loud at noon.",
    "She said that it's fine; he said that they don't know, we'll see, I'M sure they've gone.",
    "In 2024 there were 1234567 apples, 12 pears and 3.14 pies on the table.",
    "def add(first, second):\n    return first + second\n\nprint(add(1, 2))\n",
    "The caf\u00e9 served na\u00efve guests a \u00bd portion of stra\u00dfe-food.",
    "\u041c\u044b \u0438\u0434\u0451\u043c \u0434\u043e\u043c\u043e\u0439 \u0438 \u043f\u043e\u0451\u043c \u043f\u0435\u0441\u043d\u0438.",
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u3002\u660e\u5929\u5929\u6c14\u4e5f\u5f88\u597d\u3002",
    "Rain, rain, rain; and then the sun and the wind and the rain again.",
] * 4

TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "a",
    "The garden was quiet.",
    " The  garden   was    loud ",
    "it's don't WE'LL I'm 'tis",
    "1 12 123 1234 12345 3.14",
    "line one\nline two\r\n\r\nline  three\n\n\n  indented\t\ttabs",
    "def f(x):\n    return x**2  # power\n",
    "caf\u00e9 cafe\u0301 na\u00efve \ufb01ne \u2460 \u00bd \u212b",
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4",
    "\u05e9\u05dc\u05d5\u05dd \u0928\u092e\u0938\u094d\u0924\u0947 \u041f\u0440\u0438\u0432\u0435\u0442",
    "emoji \U0001F600\U0001F468\u200d\U0001F469\u200d\U0001F467 end",
    "\u00a0nbsp \u3000wide \u200bzero \u2028line",
    "\u2581already \u2581\u2581marked\u2581",
    "nul\0inside",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "................",
    "                x",
    "<s>text</s> <|end|> <|im_start|>user",
    "<tool>call</tool>  <tool> mytool",
    "<0x41><0xE4>",
    "trailing space ",
    "Lower CASE \u0130 \u01c5 \u1e9e",
]


def step(kind, **fields):
    return {"type": kind, **fields}


def words_then_bytes(pattern):
    return step(
        "Sequence",
        pretokenizers=[
            step("Split", pattern={"Regex": pattern}, behavior="Isolated", invert=False),
            step("ByteLevel", add_prefix_space=False, trim_offsets=False, use_regex=False),
        ],
    )


def train(byte_level, vocab_size, special=()):
    model = models.BPE() if byte_level else models.BPE(unk_token="<unk>")
    tokenizer = Tokenizer(model)
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        )
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        counts = collections.Counter("".join(CORPUS).replace(" ", "\u2581"))
        alphabet = sorted(counts, key=lambda c: (-counts[c], c))[:48]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(alphabet),
        special_tokens=list(special),
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


def added(content, id_, special, **flags):
    token = {"id": id_, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": not special, "special": special}
    return {**token, **flags}


def template(before, after, vocabulary):
    pieces = [piece("SpecialToken", t) for t in before] + [piece("Sequence", "A")]
    pieces += [piece("SpecialToken", t) for t in after]
    return step(
        "TemplateProcessing",
        single=pieces,
        pair=pieces + [piece("Sequence", "B")],
        special_tokens={t: {"id": t, "ids": [vocabulary[t]], "tokens": [t]} for t in [*before, *after]},
    )


def piece(kind, name):
    return {kind: {"id": name, "type_id": 0}}


def document(model, added_tokens, normalizer, pre_tokenizer, post_processor, decoder):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens,
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
            "decoder": decoder, "model": model}


def byte_level_decoder():
    return step("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True)


def llama3():
    model = {**train(True, 400), "ignore_merges": True}
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    n = len(model["vocab"])
    ends = {"<|begin|>": n, "<|end|>": n + 1}
    tokens = [added(t, i, True) for t, i in ends.items()]
    post = step("Sequence", processors=[byte_level_decoder(), template(["<|begin|>"], [], ends)])
    return document(model, tokens, None, words_then_bytes(LLAMA3_WORDS), post, byte_level_decoder())


def qwen2():
    model = train(True, 380)
    n = len(model["vocab"])
    tokens = [added("<|im_start|>", n, True), added("<|im_end|>", n + 1, True),
              added("<tool>", n + 2, False, normalized=False), added("</tool>", n + 3, False, normalized=False)]
    return document(model, tokens, step("NFC"), words_then_bytes(QWEN2_WORDS), byte_level_decoder(),
                    byte_level_decoder())


def gpt2():
    model = train(True, 340, ["<|end|>"])
    pre = step("ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True)
    tokens = [added("<|end|>", 0, True), added("tool", len(model["vocab"]), False, single_word=True, lstrip=True)]
    return document(model, tokens, None, pre, None, byte_level_decoder())


PIECES = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def sentencepiece_tokens():
    return [added(t, i, True) for i, t in enumerate(PIECES)]


def sentencepiece_decoder():
    return step(
        "Sequence",
        decoders=[step("Replace", pattern={"String": "\u2581"}, content=" "), step("ByteFallback"),
                  step("Fuse"), step("Strip", content=" ", start=1, stop=0)],
    )


def llama2():
    model = {**train(False, 400, PIECES + BYTES), "byte_fallback": True, "fuse_unk": True}
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    normalizer = step(
        "Sequence",
        normalizers=[step("Prepend", prepend="\u2581"),
                     step("Replace", pattern={"String": " "}, content="\u2581")],
    )
    return document(model, sentencepiece_tokens(), normalizer, None, template(["<s>"], [], model["vocab"]),
                    sentencepiece_decoder())


def mistral():
    model = {**train(False, 400, PIECES + BYTES), "byte_fallback": True, "fuse_unk": True}
    pre = step("Metaspace", replacement="\u2581", prepend_scheme="first", split=False)
    tokens = [*sentencepiece_tokens(), added("<tool>", len(model["vocab"]), False, rstrip=True)]
    return document(model, tokens, None, pre, template(["<s>"], ["</s>"], model["vocab"]), sentencepiece_decoder())


def metaspace():
    """Without byte fallback, so that there are unknown characters."""
    model = {**train(False, 200, PIECES), "fuse_unk": False}
    space = step("Metaspace", replacement="\u2581", prepend_scheme="always", split=True)
    return document(model, sentencepiece_tokens(), step("NFKC"), space, None, space)


def random_ids(tokenizer, rng):
    return [[rng.randrange(tokenizer.get_vocab_size()) for _ in range(rng.randint(1, 12))] for _ in range(24)]


def cases(tokenizer, rng):
    texts = []
    for text in TEXTS:
        entry = {"text": text}
        for key, parse in (("ids", False), ("ids_parsed", True)):
            tokenizer.encode_special_tokens = not parse
            entry[key] = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        entry["ids_plain"] = tokenizer.encode(text, add_special_tokens=False).ids
        entry["decoded"] = tokenizer.decode(entry["ids_parsed"])
        entry["decoded_with_special"] = tokenizer.decode(entry["ids_parsed"], skip_special_tokens=False)
        texts.append(entry)
    lists = [{"ids": ids, "decoded": tokenizer.decode(ids)} for ids in random_ids(tokenizer, rng)]
    return {"texts": texts, "ids": lists}


STEP_TEXTS = ["The caf\u00e9 -- it's  12\u00bd3!\n", "  a\u2581b c\u0301 \ufb01 \u1e9b\u0323 \uac01 \u0130X\t ", "x", "   "]
WORD_PATTERNS = [{"String": " "}, {"String": "a"}, {"Regex": r"\s+"}, {"Regex": r"\w+|[^\w\s]+"}, {"Regex": LLAMA3_WORDS},
                 {"Regex": r"x*"}, {"Regex": r"(?=\p{Lu})"}, {"Regex": r"^.|.$"}, {"Regex": r"(?m:.{3})"},
                 {"Regex": r"\h{2}|\v"}, {"Regex": r"(?<=\s)\S"}]


def normalizer_steps():
    steps = [step(form) for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase")]
    steps += [step("Strip", strip_left=left, strip_right=right) for left in (False, True) for right in (False, True)]
    steps += [step("Prepend", prepend="\u2581")]
    steps += [step("Replace", pattern=p, content=c) for p in WORD_PATTERNS for c in ("_",)]
    steps += [step("Sequence", normalizers=[step("Lowercase"), step("Prepend", prepend="<")])]
    return steps


def pre_tokenizer_steps():
    behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    steps = [step("Split", pattern=p, behavior=b, invert=i)
             for p in WORD_PATTERNS[:4] for b in behaviors for i in (False, True)]
    steps += [step("Split", pattern=p, behavior="Isolated", invert=False) for p in WORD_PATTERNS[4:]]
    steps += [step("Punctuation", behavior=b) for b in behaviors]
    steps += [step("Digits", individual_digits=i) for i in (False, True)]
    steps += [step("Whitespace"), step("WhitespaceSplit")]
    steps += [step("ByteLevel", add_prefix_space=a, trim_offsets=True, use_regex=u)
              for a in (False, True) for u in (False, True)]
    steps += [step("Metaspace", replacement="\u2581", prepend_scheme=s, split=p)
              for s in ("always", "never", "first") for p in (False, True)]
    steps += [step("Sequence", pretokenizers=[step("Digits", individual_digits=True),
                                                   step("Metaspace", replacement="_", prepend_scheme="first")])]
    return steps


def decoder_steps():
    strip = [step("Strip", content=" ", start=a, stop=b) for a, b in ((1, 0), (2, 1), (0, 1))]
    replace = [step("Replace", pattern={"String": "\u2581"}, content=" "),
               step("Replace", pattern={"Regex": r"[ab]+"}, content="*")]
    fallback, fuse = step("ByteFallback"), step("Fuse")
    space = [step("Metaspace", replacement="\u2581", prepend_scheme=s, split=True) for s in ("always", "never")]
    steps = [*strip, *replace, fallback, fuse, *space, byte_level_decoder()]
    steps += [step("Sequence", decoders=[first, second])
              for first in (fuse, byte_level_decoder(), fallback) for second in (*strip, *replace, fallback, *space)]
    return steps


DECODER_TOKENS = [
    ["\u2581The", "\u2581gar", "den", "\u2581"],
    ["  a", "b ", "ab", "xab "],
    ["<0xE4>", "<0xBB>", "<0x8A>", "x", "<0xE4>", "<0xBB>", "y", "<0x41>"],
    ["\u0120caf", "\u00c3", "\u00a9", "\u00e4\u00bb", "\u012c", "\u00e4", "a", "\u00f0\u0141"],
]


def steps():
    empty = {"type": "BPE", "vocab": {"x": 0}, "merges": []}

    def load(**parts):
        slots = {"normalizer": None, "pre_tokenizer": None, "decoder": None, **parts}
        return Tokenizer.from_str(json.dumps(document(empty, [], slots["normalizer"], slots["pre_tokenizer"], None,
                                                      slots["decoder"])))

    return {
        "texts": STEP_TEXTS,
        "tokens": DECODER_TOKENS,
        "normalizers": [{"step": s, "out": [load(normalizer=s).normalizer.normalize_str(t) for t in STEP_TEXTS]}
                        for s in normalizer_steps()],
        "pre_tokenizers": [
            {"step": s, "out": [[p for p, _ in load(pre_tokenizer=s).pre_tokenizer.pre_tokenize_str(t)]
                                for t in STEP_TEXTS]}
            for s in pre_tokenizer_steps()],
        "decoders": [{"step": s, "out": [load(decoder=s).decoder.decode(t) for t in DECODER_TOKENS]}
                     for s in decoder_steps()],
    }


def write(name, value):
    (OUT / name).write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (llama3, qwen2, gpt2, llama2, mistral, metaspace):
        content = make()
        name = make.__name__
        write(f"{name}.json", content)
        tokenizer = Tokenizer.from_str(json.dumps(content))
        write(f"{name}_cases.json", cases(tokenizer, random.Random(name)))
    write("steps.json", steps())


if __name__ == "__main__":
    main()
