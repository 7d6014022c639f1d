"""`taskiq worker` with several processes on one log: work is shared, and a killed process gives its tasks to others."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from eventlog.frameworks.taskiq import EventLogBroker, EventLogResultBackend, WorkersDied
from tests.examples.programs import Program
from tests.frameworks.taskiq import project_broker


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_processes_of_a_worker_share_the_tasks_and_survive_a_kill(path, method):
    """A task that kills its workers has failed after its attempts, and all others are executed."""

    async def main():
        broker = EventLogBroker(path, queues=("default", "mail"), attempts=1)
        broker.with_result_backend(EventLogResultBackend(path))
        await broker.startup()

        async def executed(task, *arguments):
            kicked = await task.kicker().with_broker(broker).kiq(*arguments)
            return await kicked.wait_result(check_interval=0.02, timeout=60)

        died, *others = await asyncio.gather(
            executed(project_broker.die), *(executed(project_broker.who) for _ in range(20))
        )
        await broker.shutdown()
        return died, {result.return_value for result in others}

    program = (
        f"import multiprocessing; multiprocessing.set_start_method({method!r}); from taskiq.__main__ import main; "
        "import sys; sys.argv = ['taskiq', 'worker', '--workers', '2', '--max-async-tasks', '1', "
        "'tests.frameworks.taskiq.project_broker:broker']; main()"
    )
    environment = {"TASKIQ_LOG": str(path)}
    with Program("-c", program, environment=environment) as worker:
        died, process_ids = asyncio.run(main())
        worker.end(signal.SIGTERM)
    assert died.is_err
    assert isinstance(died.error, WorkersDied), died.error
    assert "1 of its workers have died" in str(died.error)
    assert process_ids
    assert os.getpid() not in process_ids
