"""What the jobs of slurm/ do where Slurm itself is a stand-in of a few lines."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
export SLURM_PROCID=1 SLURM_LOCALID=1
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "$*" >>asked
[ "$1" != show ] || { echo node1; exit; }
[ $(wc -l <asked) -gt "${DEAF:-0}" ] || exit 1
echo "JobState=${STATE:-RUNNING}"
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """job(words, **environment): how a job ends that is put together of these words of slurm/job.sh."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("sleep", "#!/bin/bash\n")):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(shutil.which("python3"))
    monkeypatch.chdir(tmp_path)

    def run(words, **environment):
        given = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "HF_TOKEN": "secret",
        }
        return subprocess.run(
            ["bash", "-c", f"source slurm/job.sh; {words}"],
            env=given | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("engine", sorted(path.name for path in (ROOT / "slurm/accelerate").glob("*.yaml")))
def test_an_engine_prints_nothing_of_the_environment(job, engine):
    done = job("ranks true", SLURM_NTASKS="2", SLURM_JOB_NODELIST="n", ENGINE=f"slurm/accelerate/{engine}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("visible", "rank"), [("3", "0"), ("0,1", "1"), (None, "1")])
def test_a_task_that_sees_one_gpu_calls_it_number_0(job, visible, rank):
    seen = {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    done = job("ranks bash -c 'echo $RANK $LOCAL_RANK'", SLURM_NTASKS="2", SLURM_JOB_NODELIST="n", **seen)
    assert done.stdout.split() == ["1", rank]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"SLURM_GPUS_ON_NODE": "4"},
            "the job has 4 GPUs and 1 tasks, one for each: add --ntasks-per-node=4",
        ),
        (
            {"SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2"},
            "the job has 8 GPUs and 2 tasks",
        ),
        ({"ENGINE": "slurm/accelerate/fsdp2.yaml"}, "shares a run among several tasks"),
    ],
)
def test_gpus_that_would_lie_idle_and_an_engine_for_one_task_are_refused(job, given, told):
    done = job("ranks true", **given)
    assert done.returncode == 2 and told in done.stderr


def requeued():
    return Path("asked").read_text().count("requeue")


def test_a_controller_that_does_not_answer_at_once_is_asked_again(job):
    done = job("step bash -c 'exit 85'", DEAF="3")
    assert done.returncode == 85 and requeued() == 1


@pytest.mark.parametrize(
    ("state", "said"),
    [("CANCELLED", "it was cancelled"), ("COMPLETING", "Slurm ends it, or has put it back")],
)
def test_a_job_that_no_longer_runs_is_not_put_back_and_the_log_says_why(job, state, said):
    done = job("step bash -c 'exit 85'", STATE=state)
    assert done.returncode == 85 and said in done.stdout and not requeued()


def test_a_job_that_is_stopped_again_and_again_before_it_came_further_is_put_back_a_few_times(job):
    for restart, status in enumerate((85, 85, 85, 75)):
        done = job("step bash -c 'exit 85'", SLURM_RESTART_COUNT=str(restart))
        assert done.returncode == status
    assert requeued() == 3 and "three times" in done.stderr


def test_progress_makes_it_forget_how_often_it_was_stopped(job):
    for restart in range(6):
        word = f"echo {restart // 2} >$BABYLM_STATUS; exit 85"
        assert job(f"step bash -c '{word}'", SLURM_RESTART_COUNT=str(restart)).returncode == 85
    assert requeued() == 6


@pytest.mark.parametrize(("marks", "again"), [("stopped", True), ("failed", False), ("", False)])
def test_a_task_that_was_killed_beside_one_that_stopped_goes_on_with_it(job, marks, again):
    leave = f"touch $BABYLM_STATUS.{marks};" if marks else ""
    done = job(f"step bash -c '{leave} kill -KILL $$'")
    assert done.returncode == (85 if again else 137) and Path("asked").exists() == again


@pytest.mark.parametrize("commands", [8, 5])
def test_a_line_of_which_a_job_cannot_be_submitted_leaves_none_of_it(job, tmp_path, commands):
    (tmp_path / "bin/sbatch").write_text(
        "#!/bin/bash\n[ $(wc -l <sent) -lt 2 ] || exit 1\necho x >>sent\nwc -l <sent\n"
    )
    (tmp_path / "bin/scancel").write_text('#!/bin/bash\necho "$*" >cancelled\n')
    (tmp_path / "bin/make").write_text(
        f"#!/bin/bash\nfor i in {{1..{commands}}}; do echo --source nursery; done\n"
    )
    for name in ("sbatch", "scancel", "make"):
        (tmp_path / "bin" / name).chmod(0o755)
    Path("sent").touch()
    done = subprocess.run(
        ["slurm/pipeline.sh"],
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode and "none is left" in done.stderr
    assert Path("cancelled").read_text().split() == ["1", "2"]
