#!/bin/bash
# A study as arrays of jobs, each array after those that it needs: teachers, caches and controls, then the students. From the
# repository root, after `make .venv/installed` and with the data that its base names:
#   slurm/study.sh distill/studies/temperature.yaml -- --gres=gpu:1 --partition=…
# Behind `--` stand options of sbatch, for every job. Runs that are finished are left out, so the same line goes on later, also
# with what has failed: an array begins when those before it are over, and what then lacks its teacher says so. `python -m distill.study STUDY --dry-run` tells before what it comes to.
set -euo pipefail
[ -f slurm/line.slurm ] || { echo "error: start this from the repository root: slurm/study.sh STUDY" >&2; exit 2; }
[ -x .venv/bin/python ] || { echo "error: there is no .venv here: run \`make .venv/installed\` first" >&2; exit 2; }
[ $# -gt 0 ] || { echo "error: name a study: slurm/study.sh distill/studies/NAME.yaml" >&2; exit 2; }
study=$1
shift
[ "${1:-}" != -- ] || shift
name=${study##*/}
queue=$(.venv/bin/python -m distill.study "$study" --commands) || exit $?  # it has said what is missing
[ -n "$queue" ] || { echo "all of $name is finished"; exit 0; }
submitted=()
cancel() {
  [ ${#submitted[@]} -eq 0 ] || scancel "${submitted[@]}"
  echo "error: not all jobs could be submitted; none is left" >&2
  exit 2
}

submit() {  # AFTER COMMANDS…: one array, of which each task has one command
  local after=$1 job options=()
  shift
  for job in ${after//,/ }; do [ "$job" = - ] || options+=("${submitted[$job]}"); done
  [ ${#options[@]} -eq 0 ] || options=(--dependency="afterany:$(IFS=:; echo "${options[*]}")")
  job=$(sbatch --parsable --job-name="${name%.yaml}" --array="0-$(($# - 1))" --output=%x-%A-%a.out \
    "${options[@]}" "${sbatch_options[@]}" slurm/line.slurm "$@") || cancel
  submitted+=("$job")
}
sbatch_options=("$@")
commands=() current="" after=""
while IFS=$'\t' read -r number needs command; do
  if [ "$number" != "$current" ] && [ ${#commands[@]} -gt 0 ]; then
    submit "$after" "${commands[@]}"
    commands=()
  fi
  current=$number after=$needs
  commands+=("$command")
done <<<"$queue"
submit "$after" "${commands[@]}"
echo "arrays ${submitted[*]}: look with squeue --me, and run the same line again when they are over"
