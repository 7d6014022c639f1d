"""What processes do with schedules: they add them, send them, wait for their records, and die meanwhile."""

from __future__ import annotations

import os

import eventlog
from tests.processes.child import hear, say

TOPIC = "mails"


def serve(path: str) -> None:
    """Sends what is due until it is killed."""
    with eventlog.open(path) as log:
        say("ready")
        log.schedules.run()


def schedule_on(path: str, name: str) -> None:
    """Schedules records with small delays for as long as it lives, alone and in transactions; says what is stored."""
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, key=str, value=str, partitions=3)
        say("ready")
        number = 0
        while True:
            value = f"{name}-{number}"
            if number % 5 == 4:
                with log.transaction() as tx:
                    tx.schedule(topic, value, key=f"k{number % 7}", delay=0.02 * (number % 4))
                    tx.send(topic, f"sent-{value}", key="sent")
            else:
                topic.schedule(value, key=f"k{number % 7}", delay=0.02 * (number % 4), message_id=value)
            say(value)
            number += 1


def schedule_one(path: str, value: str, delay: float) -> None:
    """Schedules one record, and waits to be killed."""
    with eventlog.open(path) as log:
        log.topic(TOPIC, key=str, value=str, partitions=3).schedule(value, delay=delay)
        say("scheduled")
        hear()


def wait_for_one(path: str) -> None:
    """Waits for a record, with a log that had no schedule when it was opened, and says its value."""
    with eventlog.open(path) as log, log.consumer(TOPIC, start="latest") as consumer:
        consumer.poll()
        say("ready")
        while not (records := consumer.poll(timeout=30.0)):
            pass
        say(records[0].value)
        hear()


def schedule_in_a_fork(path: str) -> None:
    """Has a thread that sends, forks, schedules in the child, and has that child send it."""
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, key=str, value=str, partitions=3)
        topic.schedule("parent", delay=3600.0)
        child = os.fork()
        if child == 0:
            with log.consumer(TOPIC) as consumer:
                topic.schedule("child", delay=0.05)
                records = consumer.poll(timeout=20.0)
                say(*(record.value for record in records))
            os._exit(0)
        os.waitpid(child, 0)
        say(*(schedule.value for schedule in log.schedules.list()))
