#!/usr/bin/env bash
# What a machine with a GPU and no network measures, in at most 9 minutes, from a checkout.
#
#     benchmarks/gpu.sh [--device cuda] [--wheels DIR] [--output docs/results/gpu] [--qat-steps 200] [--minutes 9] [--small]
#                       [--steps "quantize agreement engines training qat distill"] [--work DIR]
#
# --minutes: of the whole run; all time limits are in proportion.
# --steps: only these; agreement needs what quantize left in --work, which is a new temporary folder unless given.
# --wheels DIR: wheels of packages that the machine lacks; installed into a temporary folder, without their dependencies.
# Pictures and weights are taken from $SRQUANT_SHARED if it is set; without them, random ones are used and named so.
# --device cpu --small runs every step at a tiny size in a few minutes. PYTHON names the Python that has PyTorch.
#
# Each step has a time limit and writes each result when it has it, so a run that is cut keeps what it has.
set -uo pipefail
cd "$(dirname "$0")/.."

device=cuda wheels="${SRQUANT_WHEELS:-}" output=docs/results/gpu minutes=9 options=()
steps="quantize agreement engines training qat distill" work=""
while [ $# -gt 0 ]; do
  case "$1" in
    --device) device="$2"; shift 2 ;;
    --wheels) wheels="$2"; shift 2 ;;
    --output) output="$2"; shift 2 ;;
    --minutes) minutes="$2"; shift 2 ;;
    --qat-steps) options+=(--qat-steps "$2"); shift 2 ;;
    --steps) steps="$2"; shift 2 ;;
    --work) work="$2"; shift 2 ;;
    --small) options+=(--small); shift ;;
    *) echo "unknown option $1; the head of this script lists them" >&2; exit 2 ;;
  esac
done

python="${PYTHON:-python3}"
if [ -z "$work" ]; then
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
fi
export PYTHONPATH="$PWD/src:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if [ -n "$wheels" ]; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --find-links "$wheels" --target "$work/site" "$wheels"/*.whl || exit
  export PYTHONPATH="$PYTHONPATH:$work/site"
fi
[ "$device" = cpu ] && export TRITON_INTERPRET=1

status=0
declare -A seconds=([quantize]=150 [agreement]=30 [engines]=150 [training]=60 [qat]=60 [distill]=90)
for step in $steps; do
  [ -n "${seconds[$step]:-}" ] || { echo "unknown step $step; the head of this script lists them" >&2; exit 2; }
  limit=$((seconds[$step] * minutes / 9))
  timeout -k 5 "$limit" "$python" benchmarks/gpu.py "$step" --device "$device" --work "$work" \
    --output "$output" ${options[@]+"${options[@]}"}
  ended=$?
  if [ $ended -ne 0 ]; then
    echo "step $step ended with code $ended (124: its time limit of $limit s)" >&2
    [ $ended -eq 124 ] || status=1
  fi
done
exit $status
