#!/usr/bin/env bash
# The main job on real input: install, build, measure, fine-tune, measure again, and show what changed.
set -euo pipefail
cd "$(dirname "$0")/.."

model=models/wick-base
held_out=data/logbook-valid.jsonl
prompt="One morning, Mia lost her red kite in the garden."
work=build/quickstart
adapter=$work/adapter
wick=build/release/bin/wick

step() { printf '\n== %s\n' "$1"; }
# `number NAME` reads a field of the one-line JSON object on standard input; a fresh Debian has no jq.
number() { sed -n "s/.*\"$1\": *\\([-+.0-9eE]*\\).*/\\1/p" | tail -n 1; }
sample() { "$wick" generate --model "$model" --prompt "$prompt" --max-tokens 140 --temperature 0 "$@"; }

step "Install what is missing, build a release (make build)"
make build
built=$SECONDS
rm -rf "$work"
mkdir -p "$work"

step "Perplexity of the base model on held-out text of the new style"
before=$("$wick" eval --model "$model" --data "$held_out" --json | number perplexity)
echo "$before"

step "Fine-tune a LoRA adapter on data/logbook-train.jsonl"
"$wick" train --model "$model" --data data/logbook-train.jsonl --valid-data "$held_out" --out "$adapter" \
  --rank 8 --alpha 16 --target-modules all-linear --epochs 2 --batch-size 8 --seq-len 192 \
  --lr 4e-3 --schedule cosine --warmup 10 --seed 1
trained=$SECONDS

step "The same measurement with the adapter"
after=$("$wick" eval --model "$model" --adapter "$adapter" --data "$held_out" --json | number perplexity)
echo "$after"

step "The same prompt without the adapter"
sample
step "... and with it"
sample --adapter "$adapter"

printf '\n\n'
printf '%-38s %12s\n' \
  "held-out perplexity, base model" "$before" \
  "held-out perplexity, with the adapter" "$after" \
  "build, seconds" "$built" "fine-tuning, seconds" $((trained - built)) "everything, seconds" "$SECONDS"
echo
echo "The adapter is in $adapter. Try: $wick generate --model $model --adapter $adapter --prompt \"Ben found an old map.\""

if ! awk -v before="$before" -v after="$after" 'BEGIN { exit !(after > 0 && 2 * after <= before) }'; then
  echo "The held-out perplexity did not halve: something is wrong." >&2
  exit 1
fi
