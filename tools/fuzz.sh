#!/usr/bin/env bash
# Runs every fuzz target of a build for a while, starting from its seeds.
#   tools/fuzz.sh BUILD_DIR SECONDS
# What is found stays in BUILD_DIR/fuzz-findings/<target>/.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1
seconds=$2
shopt -s nullglob
targets=("$build"/bin/*_fuzz)
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz targets in $build/bin" >&2; exit 1; }
for target in "${targets[@]}"; do
  name=$(basename "$target")
  seeds=(fuzz/seeds/"${name%_fuzz}"/)
  corpus=$build/fuzz-corpus/$name
  findings=$build/fuzz-findings/$name
  mkdir -p "$corpus" "$findings"
  echo "== $name, $seconds s"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$corpus" "${seeds[@]}"
done
