#!/usr/bin/env bash
#SBATCH --job-name=rearag-array
#SBATCH --array=0-3
#SBATCH --gpus=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --output=logs/slurm-%A-%a.out
# An array: each task is one method on a GPU of its own, with servers of its own on ports of its own.
#   METHODS="rearag naive_rag ircot search_o1" sbatch deploy/slurm/array.sh configs/eval/real.yaml name=methods
# The number of tasks is that of METHODS (--array=0-3 for four). Each writes runs/eval-NAME-METHOD; a task that was ended
# goes on with `sbatch --array=2`. Submit it from the root of the checkout, on a file system that all nodes see.
set -Eeuo pipefail
# shellcheck source=deploy/say.sh
case ${1:-} in -h | --help) source "$(dirname "${BASH_SOURCE[0]}")/../say.sh"; help_of "${BASH_SOURCE[0]}"; exit ;; esac
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch from the root of the checkout}"
read -ra methods <<< "${METHODS:-rearag naive_rag ircot search_o1}"
task=${SLURM_ARRAY_TASK_ID:?this is one task of an array: submit it with sbatch --array=0-$((${#methods[@]} - 1))}
(( task < ${#methods[@]} )) || { echo "error: task $task has no method; METHODS names ${#methods[@]}" >&2; exit 2; }
method=${methods[task]} config=${1:?name a configuration, such as configs/eval/real.yaml}; shift
name=methods arguments=()
for argument in "$@"; do
  if [[ $argument == name=* ]]; then name=${argument#name=}; else arguments+=("$argument"); fi
done
base=$((20000 + (SLURM_ARRAY_JOB_ID * 16 + task) % 4000 * 4)) # tasks may share a node
export PROFILE=gpu ONE_GPU=0 STATE_DIR=deploy/state/$SLURM_ARRAY_JOB_ID-$task LOG_DIR=logs/$SLURM_ARRAY_JOB_ID-$task
export REARAG_PORT=$base RETRIEVER_PORT=$((base + 1)) ANSWER_LLM_PORT=$((base + 2)) TEACHER_PORT=$((base + 3))
trap 'bash deploy/stop.sh || true' EXIT
bash deploy/deploy_rag_engine.sh
bash deploy/deploy.sh
bash scripts/evaluate.sh "$config" "${arguments[@]}" "methods=[$method]" name="$name-$method"
