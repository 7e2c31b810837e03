"""A real Slurm on this machine alone: a job that was stopped goes on by itself, and one that should not does not.

Needs Debian's slurmctld, slurmd, slurm-client and munge, and root; without them the tests are skipped, which is said.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
ABSENT = [name for name in NEEDED if shutil.which(name) is None] + (["root"] if os.geteuid() else [])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(ABSENT), reason=f"no Slurm here: {', '.join(ABSENT)} lacking"),
]
CONF = """\
ClusterName=kit
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={lab}/munge/munge.socket,cred_expire=5
SlurmctldPort=16827
SlurmdPort=16828
SlurmctldPidFile={lab}/slurmctld.pid
SlurmdPidFile={lab}/slurmd.pid
StateSaveLocation={lab}/state
SlurmdSpoolDir={lab}/spool
SlurmctldLogFile={lab}/slurmctld.log
SlurmdLogFile={lab}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=10
MinJobAge=3600
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=hasty Nodes={host} State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=high Nodes={host} State=UP PriorityTier=10 PreemptMode=OFF
"""
PROGRAM = """\
import json, os, signal, sys, time
stop = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda *_: stop.append(1))
done, end, stuck = int(open("done").read()) if os.path.exists("done") else 0, int(sys.argv[1]), "stuck" in sys.argv
print("begun at", done, flush=True)
while done < end and not stop:
    time.sleep(0.5)
    done += not stuck
    if "often" in sys.argv:
        open("done", "w").write(str(done))
open("done", "w").write(str(done))
told = {"stage": "toy", "done": done, "of": end, "goes_on": done < end}
open(os.environ["BABYLM_STATUS"], "w").write(json.dumps(told))
sys.exit(85 if done < end else 0)
"""
"""Counts to a number, half a second each, and is stopped as the kit's programs are."""
DEAF = """\
import os, signal, time
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(4)
open(os.environ["BABYLM_STATUS"], "w").write("all of it")
"""
"""Comes to its end whatever it is told, as a program may that is nearly there."""


@pytest.fixture(scope="module")
def slurm():
    """The three daemons, on the loopback address; what they keep lies in a folder of its own."""
    lab, host = Path(tempfile.mkdtemp(prefix="slurm-")), socket.gethostname().partition(".")[0]
    lab.chmod(0o755)  # munged refuses a socket that others may not reach
    for name in ("munge", "state", "spool"):
        (lab / name).mkdir(mode=0o755)
    key = lab / "munge/munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    (lab / "slurm.conf").write_text(CONF.format(host=host, lab=lab))
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.log", "seed-file": "munge.seed"}
    options = [f"--{name}={lab}/munge/{file}" for name, file in files.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(lab / "slurm.conf"))
        try:
            subprocess.run(["munged", "--force", *options], check=True)
            subprocess.run(["slurmctld", "-c", "-f", str(lab / "slurm.conf")], check=True)
            subprocess.run(["slurmd", "-f", str(lab / "slurm.conf"), "-N", host], check=True)
            wait_for(lambda: "idle" in said("sinfo", "-h", "-o", "%T"), 30)
            yield
        finally:
            said("scancel", "--user=root", "--full")
            for pid in (lab / "slurmd.pid", lab / "slurmctld.pid", lab / "munge/munged.pid"):
                with contextlib.suppress(OSError, ValueError):  # it may never have begun
                    os.kill(int(pid.read_text()), signal.SIGTERM)
            shutil.rmtree(lab, ignore_errors=True)


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def wait_for(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, said("squeue") + said("scontrol", "show", "job")
        time.sleep(0.5)


@pytest.fixture
def place(slurm, tmp_path, monkeypatch) -> Path:
    """A folder to submit from, with the script that the kit's jobs source, and a program that counts."""
    (tmp_path / "slurm").mkdir()
    shutil.copy(ROOT / "slurm/job.sh", tmp_path / "slurm")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(shutil.which("python3"))
    (tmp_path / "count.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(*words: str, options: tuple[str, ...] = (), first: str = "") -> str:
    """A job that counts, after a `first` step; its number."""
    counts = f"step .venv/bin/python count.py {' '.join(words)}"
    script = ["#!/bin/bash", "source slurm/job.sh", first, counts, "echo after", ""]
    Path("job.slurm").write_text("\n".join(script))
    usual = ("--requeue", "--open-mode=append", "--output=log", "--ntasks=1", "--cpus-per-task=2")
    job = said("sbatch", "--parsable", *usual, *options, "job.slurm").strip()
    assert job.isdecimal(), job
    return job


def state(job: str) -> dict[str, str]:
    """What Slurm says of a job: JobState, Restarts, ExitCode …"""
    return dict(
        word.split("=", 1) for word in said("scontrol", "-o", "show", "job", job).split() if "=" in word
    )


def log() -> str:
    return Path("log").read_text() if Path("log").exists() else ""


def begun(times: int) -> None:
    """Wait until the program has begun for so many times, and takes signals."""
    wait_for(lambda: log().count("begun at") == times, 60)


def test_a_job_that_is_told_of_its_time_limit_goes_on_until_it_has_ended(place):
    job = submit("40")
    for times in (1, 2):
        begun(times)
        time.sleep(3)
        said("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: state(job).get("JobState") == "COMPLETED", 120)
    assert (state(job)["Restarts"], Path("done").read_text()) == ("2", "40")
    assert log().rstrip().endswith("after") and not list(place.glob("slurm-*.status*"))


def test_slurm_itself_tells_a_job_of_its_time_limit_which_then_goes_on(place):
    job = submit("140", options=("--time=2", "--signal=B:USR1@60"))  # it may come a minute earlier than that
    wait_for(lambda: state(job).get("JobState") == "COMPLETED", 400)
    assert int(state(job)["Restarts"]) >= 1 and Path("done").read_text() == "140"


def test_a_preempted_job_goes_on_when_the_other_has_ended(place):
    job = submit("60")
    begun(1)
    said("sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 2")
    wait_for(lambda: state(job).get("JobState") == "COMPLETED", 180)
    assert state(job)["Restarts"] == "1" and Path("done").read_text() == "60"


def test_a_job_that_is_preempted_without_grace_goes_on_from_what_it_had_saved(place):
    job = submit("60", "often", options=("--partition=hasty",))
    begun(1)
    time.sleep(3)
    said("sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 2")
    wait_for(lambda: state(job).get("JobState") == "COMPLETED", 180)
    assert state(job)["Restarts"] == "1" and Path("done").read_text() == "60"
    assert int(log().rpartition("begun at ")[2].split()[0]) >= 4


def test_of_an_array_one_task_fails_and_the_others_end_well(place):
    Path("count.py").write_text("import os, sys; sys.exit(3 * (os.environ['SLURM_ARRAY_TASK_ID'] == '1'))")
    job = submit("1", options=("--array=0-2", "--output=log-%a"))
    wait_for(lambda: not said("squeue", "-h", "-j", job), 60)
    ended = [state(f"{job}_{task}") for task in range(3)]
    assert [each["ExitCode"] for each in ended] == ["0:0", "3:0", "0:0"]
    assert [Path(f"log-{task}").read_text() for task in range(3)].count("after\n") == 2


def test_a_job_whose_time_ends_between_two_steps_goes_on_with_the_second(place):
    Path("first.py").write_text(DEAF)
    job = submit("4", first="step .venv/bin/python first.py")
    wait_for(lambda: "deaf" in log(), 60)
    time.sleep(1)
    said("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: state(job).get("JobState") == "COMPLETED", 120)
    assert (state(job)["Restarts"], log().count("deaf"), log().count("begun at 0")) == ("1", 2, 1)


def test_a_cancelled_job_stays_cancelled(place):
    job = submit("400")
    begun(1)
    said("scancel", job)
    wait_for(lambda: state(job).get("JobState") == "CANCELLED", 60)
    time.sleep(10)  # longer than a job that was put back would wait
    assert state(job).get("JobState") == "CANCELLED" and state(job)["Restarts"] == "0"
    assert "not put back into the queue" in log()


def test_a_job_that_comes_no_further_is_given_up_in_its_second_step_too(place):
    Path("first.py").write_text("pass")
    job = submit("9", "stuck", first="step .venv/bin/python first.py")
    for times in (1, 2):
        begun(times)
        time.sleep(1)
        said("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: state(job).get("JobState") == "FAILED", 60)
    assert (state(job)["ExitCode"], state(job)["Restarts"]) == ("75:0", "1")
    assert "it has come no further than the time before" in log()


def test_a_job_that_is_stopped_before_it_said_a_word_goes_on_a_few_times(place):
    Path("count.py").write_text("import sys; print('begun at', flush=True); sys.exit(85)")
    job = submit("9")
    wait_for(lambda: state(job).get("JobState") == "FAILED", 120)
    assert (state(job)["ExitCode"], state(job)["Restarts"]) == ("75:0", "3")


def test_a_job_of_which_one_task_failed_does_not_go_on_though_the_others_were_only_stopped(place):
    failed = "open(os.environ['BABYLM_STATUS'] + '.failed', 'w')"
    Path("count.py").write_text(f"import os, sys; {failed}; sys.exit(85)")
    job = submit("9")
    wait_for(lambda: state(job).get("JobState") == "FAILED", 60)
    assert (state(job)["ExitCode"], state(job)["Restarts"]) == ("2:0", "0")


def test_a_step_that_fails_ends_the_job_with_its_status(place):
    Path("count.py").write_text("import sys; sys.exit(7)")
    job = submit("9")
    wait_for(lambda: state(job).get("JobState") == "FAILED", 60)
    assert state(job)["ExitCode"] == "7:0" and "after" not in log()


@pytest.fixture
def clone(slurm, tmp_path, monkeypatch) -> Path:
    """A fresh clone, with the libraries of this one."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("preset", "numbers"), [("born-again-tiny", 3), pytest.param("nursery", 5, marks=pytest.mark.long)]
)
def test_the_line_is_jobs_from_a_clone_to_the_report(clone, preset, numbers):
    if preset != "nursery":  # all that is done, of less
        config = clone / f"distill/configs/{preset}.yaml"
        config.write_text(re.sub(r"words: [\d_]+", "words: 30_000", config.read_text()) + "compile: false\n")
    told = said("slurm/pipeline.sh", f"PRESET={preset}", "--", "--cpus-per-task=2")
    jobs = re.findall(r"\d+", told)
    assert len(jobs) == numbers, told
    wait_for(lambda: not said("squeue", "-h"), 1500)
    if preset == "nursery":
        jobs[1:2] = [f"{jobs[1]}_{task}" for task in (0, 1)]  # the teachers are an array
    assert {job: state(job)["JobState"] for job in jobs} == dict.fromkeys(jobs, "COMPLETED")
    assert (clone / f"runs/{preset}/submission/report.html").is_file()
    if preset == "nursery":  # nothing is left to do
        assert "finished already" in bare_job(clone)
    assert not list(clone.glob("slurm-*.status*"))


@pytest.mark.long
def test_without_a_config_a_job_makes_the_nursery_and_its_models_in_a_bare_clone(clone):
    said_of_it = bare_job(clone)
    for name in ("nursery-llama", "nursery-gpt2", "nursery", "nursery-control"):
        assert json.loads((clone / "runs" / name / "summary.json").read_text())["status"] == "finished", (
            said_of_it
        )


def bare_job(clone: Path) -> str:
    """What `sbatch slurm/distill.slurm` says in the end."""
    job = said("sbatch", "--parsable", "--cpus-per-task=2", "slurm/distill.slurm").strip()
    wait_for(lambda: state(job).get("JobState") == "COMPLETED", 900)
    return (clone / f"distill-{job}.out").read_text()


@pytest.mark.parametrize(
    ("variables", "lacking"),
    [
        (["PRESET=cpu-hour"], "needs CORPUS=DIR and EVAL_DATA=DIR"),
        (["PRESET=cpu-hour", "CORPUS=nowhere", "EVAL_DATA=."], "CORPUS=nowhere"),
        (["PRESET=cpu-our", "CORPUS=.", "EVAL_DATA=."], "there is no distill/configs/cpu-our.yaml"),
        (["PRESET=cpu-hour", "CORPUS=slurm", "EVAL_DATA=."], "slurm holds no *.train"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_submitted(clone, variables, lacking):
    done = subprocess.run(["slurm/pipeline.sh", *variables], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and lacking in done.stderr and not said("squeue", "-h")


TINY = """\
model: {family: llama, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, max_position_embeddings: 64}
data: {path: data, seq_len: 16, words: 60000}
optim: {lr: 1e-3}
batch_size: 4
validations: 1
compile: false
competition: false
"""


def test_two_tasks_share_a_run_in_shards_stop_as_one_and_go_on(clone, monkeypatch):
    monkeypatch.setenv("ENGINE", "slurm/accelerate/fsdp2.yaml")
    Path("tiny.yaml").write_text(TINY)
    prepare = "-m babylm_data --source nursery --words 4000 --vocab-size 400 --out data"
    subprocess.run([".venv/bin/python", *prepare.split()], check=True, capture_output=True)
    job = said(
        "sbatch", "--parsable", "--ntasks-per-node=2", "--cpus-per-task=1", "slurm/train.slurm", "tiny.yaml"
    ).strip()
    wait_for(lambda: Path("runs/tiny/status.json").exists(), 120)
    time.sleep(8)
    said("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: state(job).get("JobState") == "COMPLETED", 240)
    log, summary = (
        Path(f"train-{job}.out").read_text(),
        json.loads(Path("runs/tiny/summary.json").read_text()),
    )
    assert state(job)["Restarts"] == "1" and "stopped at step" in log and "in shards" in log
    assert (summary["status"], summary["processes"]) == ("finished", 2)


STUDY = """\
question: which?
base: base.yaml
vary: {losses.soft.temperature: [1.0, 2.0]}
beside: {again: {teachers.own.path: "runs/{control}/export"}}
seeds: [0]
"""
BASE = (
    TINY.replace("60000", "2000")
    + """\
revisions: false
teachers: {own: {path: runs/tiny/export}}
losses: {hard: {weight: 0.5}, soft: {weight: {own: 0.5}}}
"""
)


def test_a_study_is_arrays_of_jobs_each_behind_those_that_it_needs(clone):
    Path("base.yaml").write_text(BASE)
    Path("st.yaml").write_text(STUDY)
    Path("tiny.yaml").write_text(TINY.replace("60000", "2000"))
    prepare = "-m babylm_data --source nursery --words 4000 --vocab-size 400 --out data"
    for words in (prepare, "-m train_teachers tiny.yaml"):
        subprocess.run([".venv/bin/python", *words.split()], check=True, capture_output=True)
    told = said("slurm/study.sh", "st.yaml", "--", "--cpus-per-task=1")
    jobs = re.findall(r"\d+", told)
    assert len(jobs) == 3, told  # the control, two students of the teacher, one of the control
    wait_for(lambda: not said("squeue", "-h"), 300)
    for name in ("st-temperature-1-s0", "st-temperature-2-s0", "st-again-s0"):
        summary = json.loads(Path("runs", name, "summary.json").read_text())
        assert summary["status"] == "finished" and Path(summary["control"], "summary.json").exists()
    assert said("slurm/study.sh", "st.yaml") == "all of st.yaml is finished\n"
