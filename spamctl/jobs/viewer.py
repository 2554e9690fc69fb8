"""Serve Metaflow's card viewer to this machine only: `python -m spamctl.jobs.viewer spamctl.flows.train 8324`."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.1"
Shown = tuple[str, Any]  # the place of a task, and a card of it
RESULTS = frozenset({"evaluation", "monitor"})  # of the verbs whose runs have several cards
MOST_CARDS = "100"  # the viewer's own limit of 20 ends in an error page when a run has more


class LoopbackServer(ThreadingHTTPServer):
    """Card server bound to the loopback address: Metaflow would listen on all addresses, without a password."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__((LOOPBACK, address[1]), _guarded(handler))


def _guarded(handler: type[BaseHTTPRequestHandler]) -> type[BaseHTTPRequestHandler]:
    """Make a handler that answers only to our own name, so that no foreign page can read cards by DNS rebinding."""

    class Guarded(handler):  # type: ignore[misc, valid-type]
        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if host in {LOOPBACK, "localhost"}:
                return True
            self.send_error(403, "Unknown host name")
            return False

    return Guarded


def _result_first(cards_for_run: Callable[..., Iterator[Shown]]) -> Callable[..., Iterator[Shown]]:
    """Make the viewer open on a run's result, or while there is none on its latest card: it opens on the last one.

    Metaflow gives the cards of the last step first, and its page turns them round.
    """

    def ordered(*given: Any, **options: Any) -> Iterator[Shown]:
        cards = list(cards_for_run(*given, **options))[::-1]
        yield from sorted(cards, key=lambda shown: shown[1].id in RESULTS)

    return ordered


def main(module: str, port: str) -> None:
    """Run the flow's own `card server`, bound to the loopback address."""
    from metaflow.plugins.cards import card_server

    vars(card_server)["ThreadingHTTPServer"] = LoopbackServer
    vars(card_server)["cards_for_run"] = _result_first(card_server.cards_for_run)
    sys.argv = [module, "--no-pylint", "card", "server", "--port", port, "--max-cards", MOST_CARDS]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
