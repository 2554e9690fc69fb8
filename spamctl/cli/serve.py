"""Serve: check the options early, find the model in a flow, then run the server."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.cli.options import Flags
from spamctl.cli.process import child_environment, report_stop, working_folder
from spamctl.cli.run import Config, Debug, Start, check_beforehand, run_verb
from spamctl.config.options import COPIES
from spamctl.config.serve import ServeOptions
from spamctl.cores import cores
from spamctl.errors import UsageError
from spamctl.serving.startup import Preloader
from spamctl.traffic import reach

if TYPE_CHECKING:
    from spamctl.reports.console import Greeting
    from spamctl.schema.event import Event
    from spamctl.schema.serve import Releases, ServeResult
    from spamctl.serving.log import Tell
    from spamctl.serving.registry_watcher import FollowRequest
    from spamctl.serving.state import Settings

LEAST_TOKEN = 16


def serve(flags: Flags, *, config: Config = None, debug: Debug = False) -> int:
    """Serve until Ctrl-C (raised on) or SIGTERM (exit 0)."""
    from spamctl.config.sources import resolve
    from spamctl.schema.codec import from_json
    from spamctl.schema.event import Found
    from spamctl.schema.serve import ServeResult

    settled = resolve(ServeOptions, flags, config=config, environ=os.environ, folder=Path.cwd())
    options = settled.options
    token = read_token(options, settled.variables)
    store = _refuse_early(options, token, settled.variables)
    from spamctl.serving.registry_watcher import following
    from spamctl.serving.workers import run

    environment, tell = child_environment(settled.variables, working_folder()), _tell()
    with contextlib.ExitStack() as stack:
        early = stack.enter_context(Preloader())
        follow = functools.cache(lambda: stack.enter_context(following(_wish(options), environment, tell)))

        def hear(event: Event) -> None:
            if isinstance(event, Found):  # the flow verifies it next, and the server will again
                early.begin(_settings(options, event, token))
                follow()  # MLflow is imported by when a move matters

        _, told = run_verb(ServeOptions, flags, Start(config, None, debug), hear)
        result = from_json(ServeResult, told)
        settings = _settings(options, result, token)
        greeting = _greeting(options, settings, result, store)
        stopped_by = run(settings, follow(), environment, tell, functools.partial(_greet, greeting), early.take)
    stop = KeyboardInterrupt()
    report_stop(stop, lambda: f"Every answer that said captured is in {store}." if store else "Nothing was captured.")
    if stopped_by == signal.SIGINT:
        raise stop
    return 0


def _wish(options: ServeOptions) -> FollowRequest:
    """Return what the follower of the registry is to look for."""
    from spamctl.serving.registry_watcher import FollowRequest

    cache = str(working_folder() / COPIES)
    return FollowRequest(options.model_name, options.model_version, options.shadow, cache, options.follow_seconds)


def _tell() -> Tell:
    """Return what writes a line to standard error, and never fails."""
    from rich.console import Console

    from spamctl.display import visible
    from spamctl.serving.log import unfailing

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return unfailing(lambda text: console.print(visible(text), style="dim", markup=False))


def _greet(greeting: Greeting) -> None:
    """Print that messages are answered now, and how to send one."""
    from rich.console import Console

    from spamctl.reports.console import greet

    greet(greeting, Console(highlight=False))


def read_token(options: ServeOptions, variables: Mapping[str, str]) -> str:
    """Return the token that callers must send, or nothing; raise UsageError if it is none that protects anything."""
    return reach.read_token(options.token_file, variables, least=LEAST_TOKEN)


def _refuse_early(options: ServeOptions, token: str, variables: Mapping[str, str]) -> str:
    """Refuse within a moment what the server would refuse after seconds; return the name of the store, if any.

    The store is not made before the server starts: what is refused leaves none behind.
    """
    from rich.console import Console

    from spamctl.serving.server import listen
    from spamctl.serving.startup import store
    from spamctl.serving.workers import listen_for_mail

    if not options.is_local and not token and not options.insecure:
        raise UsageError(
            f"--host {options.host}: others can reach it and no token is set; "
            f"give --token-file FILE or {reach.TOKEN}, or --insecure if all may read and write here"
        )
    if not options.is_spamd_local and not options.insecure:
        raise UsageError(
            f"--spamd {options.spamd}: others can reach it, and its protocol knows no token; "
            "use 127.0.0.1 and a port, or give --insecure if all may ask and teach here"
        )
    listen(options.host, options.port).close()
    if options.spamd != "none":
        listen_for_mail(options.spamd).close()
    check_beforehand(options, variables, Console(stderr=True, highlight=False))
    return "" if options.capture == "off" else store(options.datastore_uri)


def _settings(options: ServeOptions, found: Releases, token: str) -> Settings:
    """Put the options, and which versions the flow found, into the server's own words."""
    from spamctl.serving.state import MIB, Limits, Settings

    more = [] if options.allowed_hosts == "none" else options.allowed_hosts.split(",")
    return Settings(
        release=found.served,
        shadow=found.shadow,
        host=options.host,
        port=options.port,
        spamd="" if options.spamd == "none" else options.spamd,
        token=token,
        hosts=tuple(host.strip() for host in (options.host, *more) if host.strip()),
        capture=options.capture,
        datastore_uri=options.datastore_uri,
        capture_seconds=options.capture_seconds,
        workers=options.workers,
        threads=options.threads or max(1, cores() // options.workers),
        cached_rows=options.cached_rows,
        out_of_reach=options.out_of_reach,
        limits=Limits(
            body_bytes=round(options.max_body_mib * MIB),
            buffered_bytes=round(4 * options.max_body_mib * MIB),
            rows=options.max_rows,
            in_flight=options.max_in_flight,
            timeout_s=options.timeout_seconds,
            drain_s=options.drain_seconds,
        ),
    )


def _greeting(options: ServeOptions, settings: Settings, result: ServeResult, store: str) -> Greeting:
    """Describe what is served, where, and how to try it."""
    from spamctl.reports.console import Greeting

    release, moves = settings.release, options.follow_seconds > 0 and not options.model_version.isdigit()
    return Greeting(
        address=settings.address,
        model=f"{release.name} version {release.version}" + (f", the {release.alias}" if release.alias else ""),
        engine=result.engine,
        threshold=result.threshold,
        capture=settings.capture,
        store=store,
        shadow=settings.shadow.version if settings.shadow else "",
        follows=f"{options.model_version}, when it moves to another version" if moves else "",
        with_token=bool(settings.token),
        workers=settings.workers,
        spamd=settings.spamd,
    )
