# Sourced by the scripts beside it: `step WORDS…` is one step of the job, WORDS under srun, told when its time ends.
#
# A program that is asked to stop saves, says in $BABYLM_STATUS how far it has come, and ends with status 85. Then the job goes
# back into the queue by itself and on from there; but not where the user has cancelled it (it is no longer RUNNING), and not
# where it has come no further than the time before (a limit that is too short would turn it round for ever): status 75.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_MODE=offline
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-8}  # since Slurm 22.05 srun no longer takes it from the job
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
job=${job:-$SLURM_JOB_ID}
export BABYLM_STATUS=$PWD/slurm-$job.status
before=$BABYLM_STATUS.last  # what it was when the job went back into the queue
[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] || rm -f "$before"  # of an older job with this number
[ -x .venv/bin/python ] || { echo "error: there is no .venv here: run \`make .venv/installed\` first" >&2; exit 2; }
# A step's processes get Slurm's own TERM (preemption, scancel): they save by it, and this shell must outlive it.
trap : TERM
trap '[ $? -ne 0 ] || rm -f "$BABYLM_STATUS" "$before"' EXIT

step() {
  rm -f "$BABYLM_STATUS"
  srun --kill-on-bad-exit=1 "$@" &
  local task=$! status
  trap 'kill -USR1 '"$task" USR1  # srun hands it on to every task
  while :; do
    status=0
    wait "$task" || status=$?
    kill -0 "$task" 2>/dev/null || break  # else a signal ended the wait, and not the step
  done
  trap : USR1
  [ "$status" -ne 85 ] || go_on
  return "$status"
}

go_on() {
  local state told
  state=$(scontrol -o show job "$job" | grep -o 'JobState=[A-Z_]*') || state="JobState unknown"
  told=$(cat "$BABYLM_STATUS" 2>/dev/null) || told="nobody says where"
  echo "stopped ($told), $state"
  if [ "$state" != JobState=RUNNING ]; then
    echo "not put back into the queue: only a job that still runs is, and not one that was cancelled"
  elif cmp -s "$BABYLM_STATUS" "$before"; then
    echo "error: it has come no further than the time before, and is not put back: give the job a longer --time" >&2
    exit 75
  else
    cp -f "$BABYLM_STATUS" "$before" 2>/dev/null || :
    scontrol requeue "$job" || { echo "error: the job could not be put back into the queue: submit it again" >&2; exit 85; }
    sleep 60  # in which Slurm ends this shell
  fi
}
