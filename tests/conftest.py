"""What all tests share: quick notebooks, one thread a worker, no skipped browser where there must be one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch


class EveryItem:
    """Before each test, doctest and cell: what is drawn without a seed is the same in every run, so that what
    is found is found again; the kernel of a notebook under nbval takes few scenes, so that all cells are seen
    to run, in seconds."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        torch.manual_seed(0)
        np.random.seed(0)
        with pytest.MonkeyPatch.context() as patch:
            if item.path.suffix == ".ipynb":
                patch.setenv("LABKIT_QUICK", "1")
            return (yield)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(EveryItem())
    if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the processors; so do the kernels they start
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment,misc]
    needed = os.environ.get("LABKIT_NEED_BROWSER") and "/browser/" in item.path.as_posix()
    if needed and report.skipped and "axe" not in str(call.excinfo):  # axe-core is no package of the kit
        report.outcome = "failed"
        report.longrepr = f"LABKIT_NEED_BROWSER is set, but this was skipped: {call.excinfo}"
    return report  # type: ignore[return-value]
