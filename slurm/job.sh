# Sourced by the scripts beside it. `step WORDS…` runs one process as a step of the job, `ranks WORDS…` one on each task of it.
#
# A program that is asked to stop saves, says in $BABYLM_STATUS how far it has come, and ends with status 85. Then the job goes
# back into the queue by itself and on from there; but not where a program has failed (it leaves $BABYLM_STATUS.failed), not where
# the user has cancelled the job (it is no longer RUNNING), and not where it has come no further in the time that it was given (a
# limit that is too short would turn it round for ever), or in three times that something else stopped it: status 75.
#
# One task a GPU (`--ntasks-per-node`), and no torchrun: srun hands a signal on to every task and tells the highest status of
# all, or the signal that one died of. A torchrun in between dies of the signal, its processes with it, and whatever they end with it ends with 1.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_MODE=offline
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-8}  # since Slurm 22.05 srun no longer takes it from the job
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
job=${job:-$SLURM_JOB_ID}
export BABYLM_STATUS=$PWD/slurm-$job.status
before=$BABYLM_STATUS.last  # what it was when the job went back into the queue
[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] || rm -f "$BABYLM_STATUS" "$before" "$before.times"  # of an older job with this number
touch "$BABYLM_STATUS"
tasks=${SLURM_NTASKS:-$((${SLURM_JOB_NUM_NODES:-1} * ${SLURM_NTASKS_PER_NODE:-1}))}
[ -x .venv/bin/python ] || { echo "error: there is no .venv here: run \`make .venv/installed\` first" >&2; exit 2; }
told=""  # whether Slurm has said that the time is nearly over
trap told=1 USR1
# A step's processes get Slurm's own TERM (preemption, scancel): they save by it, and this shell must outlive it.
trap : TERM
trap '[ $? -ne 0 ] || rm -f "$BABYLM_STATUS" "$BABYLM_STATUS".{failed,stopped} "$before" "$before.times"' EXIT

step() { run --nodes=1 --ntasks=1 "$@"; }

ranks() {
  local gpus=$((${SLURM_GPUS_ON_NODE:-0} * ${SLURM_JOB_NUM_NODES:-1}))
  if [ "$gpus" -gt "$tasks" ]; then
    echo "error: the job has $gpus GPUs and $tasks tasks, one for each: add --ntasks-per-node=$SLURM_GPUS_ON_NODE" >&2
    exit 2
  fi
  if [ "$tasks" -eq 1 ]; then
    [ -z "${ENGINE:-}" ] || { echo "error: ENGINE=$ENGINE shares a run among several tasks: add --ntasks-per-node=N" >&2; exit 2; }
    step "$@"
    return
  fi
  MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000)) WORLD_SIZE=$tasks
  if [ -n "${ENGINE:-}" ]; then  # what `accelerate launch` would put into the environment
    [ -f "$ENGINE" ] || { echo "error: ENGINE=$ENGINE is no file" >&2; exit 2; }
    ! grep -q "distributed_type: FSDP" "$ENGINE" || export ACCELERATE_USE_FSDP=true
    ! grep -q "distributed_type: DEEPSPEED" "$ENGINE" || export ACCELERATE_USE_DEEPSPEED=true
    local settings
    mapfile -t settings < <(sed -nE 's/^  (fsdp_[a-z_]+): *"?([A-Za-z0-9_]+).*/\U\1\E=\2/p' "$ENGINE")
    [ ${#settings[@]} -eq 0 ] || export "${settings[@]}"  # an export of nothing would print all that is exported
  fi
  # a task that is bound to one GPU sees it as number 0
  run --ntasks="$tasks" bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
    case ${CUDA_VISIBLE_DEVICES:-,} in *,*) ;; *) LOCAL_RANK=0 ;; esac
    export RANK LOCAL_RANK; exec "$@"' rank "$@"
}

seed_of_array() {  # CONFIG WORDS…: sets `seed`, what a task of an array changes in them
  local name=${1##*/} word
  name=${name%.yaml}
  seed=()
  [ -n "${SLURM_ARRAY_TASK_ID:-}" ] || return 0
  for word in "$@"; do [ "${word#name=}" = "$word" ] || name=${word#name=}; done
  seed=("seed=$SLURM_ARRAY_TASK_ID" "name=$name-seed$SLURM_ARRAY_TASK_ID")
}

run() {
  [ -z "$told" ] || go_on  # between two steps: the next one would not come far
  rm -f "$BABYLM_STATUS".{failed,stopped}
  srun --kill-on-bad-exit=1 "$@" &
  local task=$! status
  trap 'told=1; kill -USR1 '"$task"' 2>/dev/null || :' USR1  # srun hands it on to every task
  [ -z "$told" ] || kill -USR1 "$task" 2>/dev/null || :
  while :; do
    status=0
    wait "$task" || status=$?
    kill -0 "$task" 2>/dev/null || break  # else a signal ended the wait, and not the step
  done
  trap told=1 USR1
  [ ! -e "$BABYLM_STATUS.failed" ] || return "$((status == 85 ? 2 : status))"  # of several tasks one failed, and then all ended
  case $status in
    0) ;;
    85 | 138 | 143) go_on ;;  # 138, 143: Python itself was only just starting
    *) [ -z "$told" ] && [ ! -e "$BABYLM_STATUS.stopped" ] || go_on ;;  # it, or a task beside one that stopped, was killed
  esac
  return "$status"
}

patiently() {  # a controller that is restarted, or busy, answers a minute later
  local _
  for _ in {1..12}; do "$@" && return; sleep 5; done
  return 1
}

go_on() {
  local state times=0
  state=$(patiently scontrol -o show job "$job" | grep -o 'JobState=[A-Z_]*') || state="JobState unknown"
  echo "stopped ($(cat "$BABYLM_STATUS")), $state"
  case $state in
    JobState=RUNNING) ;;
    JobState=CANCELLED) echo "not put back into the queue: it was cancelled"; exit 85 ;;
    *) echo "not put back into the queue by itself: Slurm ends it, or has put it back"; exit 85 ;;
  esac
  if [ -e "$before" ] && cmp -s "$BABYLM_STATUS" "$before"; then
    if [ -n "$told" ]; then
      echo "error: it has come no further than the time before, and is not put back: give the job a longer --time" >&2
      exit 75
    fi
    times=$(($(cat "$before.times" 2>/dev/null || echo 0) + 1))
    if [ "$times" -ge 3 ]; then
      echo "error: it was stopped three times before it came any further, and is not put back" >&2
      exit 75
    fi
  fi
  echo "$times" >"$before.times"
  cp -f "$BABYLM_STATUS" "$before"
  patiently scontrol requeue "$job" ||
    { echo "error: the job could not be put back into the queue: submit it again" >&2; exit 85; }
  sleep 60  # in which Slurm ends this shell
  exit 85
}
