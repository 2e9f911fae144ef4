#!/bin/sh
# Compares accuracy and speed of this tree with a commit's, on this machine. Both benches run in alternation, so that other load
# affects both. Then runs `deno task compare` and exits with its exit code. Results go to OUT/base and OUT/head.
#
#     sh tasks/compare_with.sh COMMIT OUT [bench groups and options…] [-- options of deno task compare…]
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { echo "usage: sh tasks/compare_with.sh COMMIT OUT [bench arguments…] [-- compare arguments…]" >&2; exit 2; }
commit=$1
out=$2
shift 2
rounds=5

mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ -e "$out/base" ] || [ -e "$out/head" ]; then
  echo "$out holds results already: name another folder" >&2
  exit 2
fi
tree=$(mktemp -d)
git worktree add --quiet --detach "$tree" "$commit" || exit 2
trap 'git worktree remove --force "$tree"' EXIT
# A signal alone would end dash without the line above.
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -f "$tree/tasks/compare.ts" ]; then
  echo "$commit is older than deno task compare: its bench keeps too little to be compared" >&2
  exit 2
fi

# Arguments before -- are for the bench.
bench=""
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  bench="$bench $1"
  shift
done
[ $# -eq 0 ] || shift

run_in() { (cd "$1" && shift && "$@" >/dev/null); }
# Laps of as many runs as in the first round's base, once that is there.
run_bench() {
  like="$out/base/1/bench.json"
  # shellcheck disable=SC2086 -- several arguments
  if [ -e "$like" ]; then
    run_in "$1" deno task --quiet bench $bench --alone --laps 10 --like "$like" --out "$2"
  else
    run_in "$1" deno task --quiet bench $bench --alone --laps 10 --out "$2"
  fi
}
round=1
while [ "$round" -le "$rounds" ]; do
  run_bench "$tree" "$out/base/$round"
  run_bench . "$out/head/$round"
  round=$((round + 1))
done
for side in base head; do
  [ "$side" = base ] && where=$tree || where=.
  run_in "$where" deno task --quiet reproduce --profile smoke --seeds 3 --method "LoRA r 8" --method "BoRA r 8 b 16" \
    --out "$out/$side/accuracy"
done
deno task --quiet compare "$out/base" "$out/head" "$@"
