"""Serve: find the version, fetch it, verify it and warm it up; the server itself runs when the flow is done."""

from __future__ import annotations

import time

from metaflow import step

from spamctl.config.options import COPIES
from spamctl.config.serve import ServeOptions
from spamctl.flows import base


class ServeFlow(base.VerbFlow):
    """Flow that verifies that the served package is the measured one."""

    locals().update(base.parameters(ServeOptions))

    @step
    def start(self) -> None:
        """Find and fetch the version in the registry, and what shadows it."""
        with base.stage("fetch", "Find the version and fetch it", index=1, of=2):
            options = self.options(ServeOptions)
            from spamctl.engine.manifest import UNSEALED
            from spamctl.schema.codec import to_json
            from spamctl.schema.serve import Releases
            from spamctl.serving import registry_watcher

            wish = registry_watcher.FollowRequest(
                options.model_name,
                options.model_version,
                options.shadow,
                str(COPIES.absolute()),
                options.follow_seconds,
            )
            served, shadow = registry_watcher.find_releases(wish)
            if served.remembered:
                base.warning(
                    f"the registry does not answer: serving version {served.version}, "
                    f"which was {options.model_version} when it did"
                )
            for one in filter(None, (served, shadow)):
                if not one.sealed:
                    base.warning(f"{one.name} version {one.version}: {UNSEALED}")
            if options.shadow != registry_watcher.NONE and shadow is None:
                base.note(
                    f"there is no {options.shadow} beside version {served.version} yet: nothing shadows it so far"
                )
            self.releases = Releases(
                registry_watcher.release(served), registry_watcher.release(shadow) if shadow else None
            )
            base.emit("found", **to_json(self.releases))  # the server loads it meanwhile
        self.next(self.end)

    @step
    def end(self) -> None:
        """Verify the package, warm it up, and replay its golden messages."""
        with base.stage("verify", "Verify it, and warm it up", index=2, of=2):
            from spamctl.schema.codec import to_json
            from spamctl.schema.serve import ServeResult
            from spamctl.serving.state import Deployment

            began = time.monotonic()
            deployment = Deployment(self.releases.served)
            deployment.close()
            manifest = deployment.manifest
            base.note(
                f"{len(manifest.golden)} golden messages answered as when they were packaged "
                f"(probabilities move by {deployment.golden_delta:.1e} at most)"
            )
            result = ServeResult(
                served=self.releases.served,
                shadow=self.releases.shadow,
                threshold=manifest.threshold,
                engine=manifest.engine,
                golden_delta=deployment.golden_delta,
                seconds=time.monotonic() - began,
            )
            base.result("serve", to_json(result))


if __name__ == "__main__":
    ServeFlow()
