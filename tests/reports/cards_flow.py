"""Run a real flow with the cards of a training: one drawn live, one composed at the end."""

import sys
import time

from metaflow import FlowSpec, Parameter, card, current, step


class CardsFlow(FlowSpec):
    """Show a loss that falls, and a page that was composed before."""

    page_file = Parameter("page-file", default="page.html")

    @card(type="blank", id="loss", refresh_interval=1)
    @card(type="html", id="evaluation", options={"attribute": "evaluation_page"})
    @step
    def start(self):
        """Train for a few seconds of nothing, as a training step would."""
        from pathlib import Path

        from spamctl.reports.train_cards import LossCard

        steps = 24
        live = LossCard(current.card["loss"], steps=steps, seconds=2.0)
        began = time.perf_counter()
        for number in range(1, steps + 1):
            time.sleep(0.2)
            live.add(number, 1 / number, 2 / number if number % 8 == 0 else None)
        print("loop", time.perf_counter() - began, file=sys.stderr)
        live.draw()
        self.evaluation_page = Path(self.page_file).read_text(encoding="utf-8")
        self.next(self.end)

    @step
    def end(self):
        """End."""


if __name__ == "__main__":
    CardsFlow()
