"""Try one test on every case of a sweep: as parametrize does, and in one go where there are hundreds of small ones."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def each(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a test its cases, to be tried one after the other; it fails with every case on which it fails.

    All of them share the fixtures of the one test: none may leave in a folder what another would trip over.
    """
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    every = list(cases)

    def sweep(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def swept(**fixtures: Any) -> None:
            faults: list[BaseException] = []
            for case in every:
                given = dict(zip(wanted, case if len(wanted) > 1 else (case,), strict=True))
                try:
                    test(**fixtures, **given)
                except (Exception, BaseExceptionGroup, pytest.fail.Exception) as fault:
                    fault.add_note(f"with {given!r:.500}")
                    faults.append(fault)
            if faults:
                raise BaseExceptionGroup(f"{len(faults)} of {len(every)} cases fail", faults)

        parameters = inspect.signature(test).parameters.values()
        left = [one for one in parameters if one.name not in wanted]
        swept.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]
        return swept

    return sweep
