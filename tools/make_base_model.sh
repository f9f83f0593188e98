#!/usr/bin/env bash
# Makes the bundled base model from nothing: corpus, tokenizer, training with `wick train --full`, bf16 weights.
#   tools/make_base_model.sh [--out DIR] [--stories N] [--steps N]
# The whole recipe is deterministic but for the order of floating-point sums, which depends on the number of threads.
set -euo pipefail
cd "$(dirname "$0")/.."

out=models/wick-base
stories=30000
steps=1200
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out=$2 ;;
    --stories) stories=$2 ;;
    --steps) steps=$2 ;;
    *) echo "usage: $0 [--out DIR] [--stories N] [--steps N]" >&2; exit 2 ;;
  esac
  shift 2
done
wick=${WICK:-build/release/bin/wick}
work=build/base-model
rm -rf "$work"
mkdir -p "$work/start" "$out"

python3 tools/generate_corpus.py base --out "$work" --stories "$stories"

# From the base corpus alone: a piece that only the fine-tuning data uses would be one that the base never learned.
python3 tools/train_tokenizer.py "$work/base-train.jsonl" --vocab-size 1024 --max-length 512 --out "$work/start"
cat > "$work/start/config.json" <<'JSON'
{
  "architectures": ["LlamaForCausalLM"],
  "model_type": "llama",
  "vocab_size": 1024,
  "hidden_size": 128,
  "intermediate_size": 448,
  "num_hidden_layers": 6,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "head_dim": 32,
  "hidden_act": "silu",
  "max_position_embeddings": 512,
  "initializer_range": 0.05,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "rope_scaling": null,
  "attention_bias": false,
  "attention_dropout": 0.0,
  "mlp_bias": false,
  "tie_word_embeddings": true,
  "bos_token_id": 1,
  "eos_token_id": 0,
  "pad_token_id": 2,
  "torch_dtype": "bfloat16",
  "use_cache": true
}
JSON
cat > "$work/start/generation_config.json" <<'JSON'
{
  "bos_token_id": 1,
  "eos_token_id": 0,
  "pad_token_id": 2
}
JSON

"$wick" train --full --init-random --model "$work/start" --dtype f32 \
  --data "$work/base-train.jsonl" --valid-data "$work/base-valid.jsonl" --out "$work/trained" \
  --steps "$steps" --batch-size 16 --seq-len 288 --lr 3e-3 --schedule cosine --warmup $((steps / 20)) \
  --weight-decay 0.1 --max-grad-norm 1 --eval-every $((steps < 400 ? steps : 400)) --seed 2026 --save-dtype bf16

cp "$work/start/"{config,generation_config,tokenizer,tokenizer_config}.json "$out/"
cp "$work/trained/model.safetensors" "$out/"
"$wick" eval --model "$out" --data "$work/base-valid.jsonl"
