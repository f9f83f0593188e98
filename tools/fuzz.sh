#!/usr/bin/env bash
# Runs every fuzz target of a build for a while, starting from its seeds; as many at a time as there are processors.
#   tools/fuzz.sh BUILD_DIR SECONDS
# What is found stays in BUILD_DIR/fuzz-findings/<target>/.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz() {
  local target=$1 seconds=$2
  local name build
  name=$(basename "$target")
  build=$(dirname "$(dirname "$target")")
  local seeds=(fuzz/seeds/"${name%_fuzz}"/)
  local corpus=$build/fuzz-corpus/$name
  local findings=$build/fuzz-findings/$name
  mkdir -p "$corpus" "$findings"
  local status=0
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$corpus" "${seeds[@]}" >"$findings/log" 2>&1 || status=$?
  echo "== $name, $seconds s"
  cat "$findings/log"
  return $status
}
export -f fuzz

build=$1
seconds=$2
shopt -s nullglob
targets=("$build"/bin/*_fuzz)
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz targets in $build/bin" >&2; exit 1; }
# shellcheck disable=SC2016 # expanded by the shell that runs a target
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -n 1 bash -c 'fuzz "$2" "$1"' fuzz "$seconds"
