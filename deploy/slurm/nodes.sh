#!/usr/bin/env bash
#SBATCH --job-name=rearag
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --output=logs/slurm-%j.out
# Several nodes: a model server on each, a retriever on the first, and one run against all of them.
#   sbatch deploy/slurm/nodes.sh N_QUESTIONS=-1 RUN_NAME=big questions=/data/hotpotqa.jsonl
# Submit it from the root of the checkout, on a file system that all nodes see; scripts/setup.sh requirements.txt was
# run there before. Arguments are those of infer.sh. The same RUN_NAME goes on after the time limit has ended a job.
# The servers require a token of this job's own, since other users share the network.
set -Eeuo pipefail
# shellcheck source=deploy/say.sh
case ${1:-} in -h | --help) source "$(dirname "${BASH_SOURCE[0]}")/../say.sh"; help_of "${BASH_SOURCE[0]}"; exit ;; esac
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch from the root of the checkout}"
REARAG_TOKEN=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
export REARAG_TOKEN PROFILE=gpu GPU_FOR_REARAG=0 GPU_FOR_RETRIEVER=0 START_SECONDS=${START_SECONDS:-1800}
REARAG_PORT=${REARAG_PORT:-9891} RETRIEVER_PORT=${RETRIEVER_PORT:-9892}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

# serve NODE SCRIPT ARGUMENT…: start the server of a deploy script on a node, with records and logs of its own, and hold
# the step open for as long as the job runs: srun ends what a step has started when the step ends.
serve() {
  local node=$1; shift
  # shellcheck disable=SC2016 # the node's own shell reads these
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" --export=ALL bash -c '
    export STATE_DIR=deploy/state/$SLURM_JOB_ID-$HOSTNAME LOG_DIR=logs/$SLURM_JOB_ID-$HOSTNAME
    export REARAG_HOST=$0 RETRIEVER_HOST=$0 HOST_NAMES=$0
    bash "$@" && touch "$STATE_DIR/ready-$(basename "$1" .sh)" && sleep infinity' "$node" "$@" &
}

for node in "${nodes[@]}"; do serve "$node" deploy/deploy.sh; done
serve "${nodes[0]}" deploy/deploy_rag_engine.sh retriever
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

# wait_for URL: until its server answers, or the deadline; a server that could not start has said why in its log.
wait_for() {
  local deadline=$((SECONDS + START_SECONDS))
  until curl -fsS --max-time 5 "$1/health" > /dev/null 2>&1; do
    (( SECONDS < deadline )) || { echo "error: $1 is not ready after $START_SECONDS s; see logs/$SLURM_JOB_ID-*" >&2; exit 2; }
    sleep 5
  done
}

urls=
for node in "${nodes[@]}"; do
  wait_for "http://$node:$REARAG_PORT"
  urls+=${urls:+,}http://$node:$REARAG_PORT/v1
done
wait_for "http://${nodes[0]}:$RETRIEVER_PORT"
bash infer.sh "$@" agent.url="$urls" reader.url="$urls" retriever="http://${nodes[0]}:$RETRIEVER_PORT" \
  in_flight="$((64 * ${#nodes[@]}))"
