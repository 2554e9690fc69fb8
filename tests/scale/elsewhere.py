"""Run each step of a flow as a job elsewhere: `--with elsewhere`, beside what `--with kubernetes` does.

    python -m tests.scale.elsewhere spamctl.flows.train --datastore s3 ... run --with elsewhere

A job gets what a pod gets: a folder and a home of its own, both empty, the code package that Metaflow's own commands
fetch from S3, the variables of S3 and of the step's `@environment`, and the libraries of this interpreter.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

POD = Path(__file__).absolute()
# What Metaflow's kubernetes decorator hands to a pod, and what a service account gives it.
OF_A_POD = ("PATH", "LANG", "METAFLOW_USER", "METAFLOW_S3_ENDPOINT_URL", "METAFLOW_DATASTORE_SYSROOT_S3")
OF_A_POD += ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


def orchestrate(module, words):
    """Run a flow whose decorators know one more, `elsewhere`."""
    from metaflow import plugins
    from metaflow.decorators import StepDecorator

    class ElsewhereDecorator(StepDecorator):
        """Decorator whose step runs as a job, as Metaflow's own for Kubernetes does it."""

        name = "elsewhere"
        package_metadata = package_url = package_sha = None

        def step_init(self, *given):
            _, _, self.step, self.decos, self.environment, self.flow_datastore, _ = given

        def runtime_init(self, *given):
            _, _, self.package, _ = given

        def runtime_task_created(self, *given):
            is_cloned = given[4]
            if not is_cloned and self.package_url is None:
                url, sha = self.flow_datastore.save_data([self.package.blob], len_hint=1)[0]
                self.package_url, self.package_sha = url, sha
                self.package_metadata = self.package.package_metadata

        def runtime_step_cli(self, cli_args, *_):
            commands = self.environment.get_package_commands(self.package_url, "s3", self.package_metadata)
            given = [deco.attributes["vars"] for deco in self.decos if deco.name == "environment"]
            wanted = [deco.attributes for deco in self.decos if deco.name == "resources"]
            job = {"step": self.step, "commands": commands, "variables": given, "resources": wanted}
            cli_args.entrypoint = [sys.executable, "-u", str(POD), json.dumps(job), Path(cli_args.entrypoint[-1]).name]

    plugins.STEP_DECORATORS.append(ElsewhereDecorator)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_job(job, flow_file, words):
    """Run a step in a folder of its own, and hand its entry in the list of runs back; return its exit code."""
    told = json.loads(job)
    place = words.index("elsewhere")  # behind --with: the decorator is known to the launcher alone
    words = words[: place - 1] + words[place + 1 :]
    step = " ".join(f"'{word}'" for word in [sys.executable, "-u", flow_file, *words])
    with tempfile.TemporaryDirectory(prefix="spamctl-job-") as name:
        home, work = Path(name, "home"), Path(name, "work")
        home.mkdir()
        work.mkdir()
        variables = {name: os.environ[name] for name in OF_A_POD if name in os.environ}
        variables |= {"HOME": str(home), "METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1", "METAFLOW_KUBERNETES_WORKLOAD": "1"}
        variables |= {"PATH": f"{Path(sys.executable).parent}:{variables['PATH']}", "OMP_NUM_THREADS": "1"}
        logs = {"MFLOG_STDOUT": str(work / "out.log"), "MFLOG_STDERR": str(work / "err.log")}
        for given in told["variables"]:
            variables |= given
        ours = "python -c 'import os, spamctl; assert spamctl.__file__.startswith(os.getcwd()), spamctl.__file__'"
        mute = "mflog() { :; }; flush_mflogs() { :; }"
        # Metaflow writes them for `bash -c "..."`.
        commands = [line.replace('\\"', '"') for line in told["commands"] if "mflog" not in line or "job.tar" in line]
        script = " && ".join([mute, *commands, ours, step])
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=work,
            env=variables | logs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout:
                print(f"[job-{told['step']}] {line}", end="", flush=True)
        listed = work / "metaflow" / ".metaflow"
        if listed.is_dir():
            shutil.copytree(
                listed, Path(os.environ["METAFLOW_DATASTORE_SYSROOT_LOCAL"], ".metaflow"), dirs_exist_ok=True
            )
        return process.returncode


if __name__ == "__main__":
    if sys.argv[1].startswith("{"):
        sys.exit(run_job(sys.argv[1], sys.argv[2], sys.argv[3:]))
    orchestrate(sys.argv[1], sys.argv[2:])
