"""What all tests share: on a machine that must have a browser, a skipped browser test is a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment,misc]
    if os.environ.get("LABKIT_NEED_BROWSER") and report.skipped and "/browser/" in item.path.as_posix():
        report.outcome = "failed"
        report.longrepr = f"LABKIT_NEED_BROWSER is set, but this was skipped: {call.excinfo}"
    return report  # type: ignore[return-value]
