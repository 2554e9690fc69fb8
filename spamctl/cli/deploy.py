"""Deploy: resolve the options of every verb that runs in the cluster, have the files written, and show what is next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from spamctl.cli.options import Flags
from spamctl.cli.process import child_environment, reporting_stop, working_folder
from spamctl.cli.run import Config
from spamctl.cli.serve import LEAST_TOKEN
from spamctl.config.deploy import VERBS, DeployOptions
from spamctl.config.options import Options
from spamctl.config.serve import ServeOptions
from spamctl.config.verbs import VERBS as EVERY_VERB
from spamctl.errors import OptionsError
from spamctl.schema.serve import DeployResult
from spamctl.traffic import reach

METAFLOW = "METAFLOW_"

Kind = TypeVar("Kind", bound=Options)


def deploy(flags: Flags, *, config: Config = None) -> int:
    """Write the folder of a deployment; nothing in any cluster is changed."""
    from spamctl.config.sources import resolve
    from spamctl.jobs import deploy as job

    settled = resolve(DeployOptions, flags, config=config, environ=os.environ, folder=Path.cwd())
    options, faults = settled.options, list[str]()
    serve = _values(options, ServeOptions, faults)
    verbs = {verb: _values(options, EVERY_VERB[verb], faults) for verb in VERBS}
    if faults:
        raise OptionsError(list(dict.fromkeys(faults)))
    token = reach.read_token(serve.token_file, settled.variables, least=LEAST_TOKEN)
    chosen = job.Chosen(options=options, serve=serve, verbs=verbs, token=token, variables=settled.variables)
    with reporting_stop(lambda: "Nothing was written."):
        result = job.deploy(chosen, _environment(settled.variables))
    _show(result)
    return 0


def _values(options: DeployOptions, kind: type[Kind], faults: list[str]) -> Kind:
    """Return a verb's options as the verb itself would have them with this YAML file; add what is wrong to `faults`."""
    from spamctl.config.sources import resolve

    file = options.values_of(kind.verb)
    if file and not Path(file).is_file():
        faults.append(f"--{kind.verb} {file}: there is no such file; name a YAML file as for spamctl {kind.verb}")
        return kind()
    try:
        return resolve(kind, {}, config=Path(file) if file else None, environ=os.environ, folder=Path.cwd()).options
    except OptionsError as refusal:
        faults.extend(refusal.faults)
        return kind()


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Metaflow's processes, which are told what the user tells Metaflow."""
    told = {name: value for name, value in variables.items() if name.startswith(METAFLOW)}
    return child_environment(variables, working_folder()) | told


def _show(result: DeployResult) -> None:
    """Print what was written, and what to type next."""
    from rich.console import Console

    from spamctl.reports.console import deployed

    deployed(result, Console(highlight=False))
