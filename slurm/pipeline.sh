#!/bin/bash
# The whole line as jobs, each after those that it needs: data; both teachers, and the control beside them; the student; scores
# and bundle. Of a preset that is taught otherwise all is trained in one job. From the repository root, after `make .venv/installed`:
#   slurm/pipeline.sh                                                         the nursery
#   slurm/pipeline.sh PRESET=born-again CORPUS=DIR EVAL_DATA=DIR -- --gres=gpu:1 --partition=…
# Before `--` stand the variables of `make submission`, behind it options of sbatch, for every job. What is missing is told
# before anything is submitted. A job that fails takes those behind it out of the queue; the same line goes on later.
set -euo pipefail
shopt -s extglob
[ -f slurm/line.slurm ] || { echo "error: start this from the repository root: slurm/pipeline.sh …" >&2; exit 2; }
[ -x .venv/bin/python ] || { echo "error: there is no .venv here: run \`make .venv/installed\` first" >&2; exit 2; }
variables=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do variables+=("$1"); shift; done
[ $# -eq 0 ] || shift
found=$(make -s line "${variables[@]}") || exit 2  # it has said what is missing
mapfile -t line <<<"$found"
case ${#line[@]} in 5 | 8) ;; *) echo "error: \`make line\` prints neither five commands nor eight" >&2; exit 2 ;; esac
if [ ${#line[@]} -eq 5 ] && [[ " $*" =~ \ (--ntasks|-n) ]]; then
  echo "error: this preset's models are trained by one process, one after the other: no --ntasks…" >&2
  exit 2
fi
# Before the queue: the corpus and the evaluation data, but for what the first job makes.
case $found in
  *"--source nursery"*) ;;
  *) bash -c "${line[0]} --check" && bash -c "${line[1]/--text +([^ ])/}" || exit 2 ;;
esac

submit() {  # NAME DEPENDENCY OPTIONS… -- COMMANDS…
  local name=$1 after=$2 options=()
  shift 2
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  sbatch --parsable --job-name="$name" ${after:+--dependency=afterok:"$after" --kill-on-invalid-dep=yes} \
    "${sbatch_options[@]}" "${options[@]}" slurm/line.slurm "$@"
}
sbatch_options=("$@")
trap 'scancel $data $teachers $control $student; echo "error: not all jobs could be submitted; none is left" >&2' ERR
data="" teachers="" control="" student=""
data=$(submit data "" -- "${line[0]}" "${line[1]}")
if [ "${#line[@]}" -eq 5 ]; then
  student=$(submit student "$data" -- "${line[2]}")
  scores=$(submit scores "$student" -- "${line[3]}" "${line[4]}")
  echo "data $data, all that is trained $student, scores and bundle $scores: look with squeue --me"
  exit
fi
teachers=$(submit teachers "$data" --array=0-1 -- "${line[2]}" "${line[3]}")
control=$(submit control "$data" -- "${line[5]}")
student=$(submit student "$teachers" -- "${line[4]}")
scores=$(submit scores "$student:$control" -- "${line[6]}" "${line[7]}")
echo "data $data, teachers $teachers, control $control, student $student, scores and bundle $scores: look with squeue --me"
