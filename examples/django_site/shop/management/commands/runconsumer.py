"""The command `runconsumer`: a worker that bills orders until SIGTERM. Run as many as you like."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from eventlog import Record, TopicPartition
from examples.django_site.shop.events import log, orders
from examples.django_site.shop.models import Invoice, Position

GROUP = "billing"


class Command(BaseCommand):
    """Works on one record after the other, and stores the work and the position in one transaction."""

    help = "Bills the orders in the log, until SIGTERM."

    def handle(self, *_: Any, **__: Any) -> None:
        """Work until a signal wakes the consumer; the record in hand is finished first."""
        topic_id = orders().uuid  # a topic that is deleted and made again has another

        def go_on(partitions: list[TopicPartition]) -> None:
            done = Position.objects.filter(group=GROUP, topic=topic_id)
            positions = dict(done.values_list("partition", "next_offset"))
            for place in partitions:
                if place.partition in positions:
                    consumer.seek(place, positions[place.partition])
                else:
                    consumer.seek_to_beginning(place)

        is_stopping = threading.Event()

        def stop(*_: object) -> None:
            is_stopping.set()
            consumer.wakeup()

        consumer = log().consumer(orders(), group=GROUP, on_assigned=go_on)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        with consumer:
            for record in consumer:
                if is_stopping.is_set():
                    break  # the record before is finished, and this one is not begun
                with transaction.atomic():
                    position, _ = Position.objects.select_for_update().get_or_create(
                        group=GROUP, topic=topic_id, partition=record.partition
                    )
                    if record.offset >= position.next_offset:  # else another worker was faster
                        self.bill(record)
                        position.next_offset = record.offset + 1
                        position.save()

    def bill(self, record: Record[str, Any]) -> None:
        """The work for one record."""
        Invoice.objects.create(customer=record.key, cents=250 * record.value["cups"])
        self.stdout.write(f"billed order {record.value['order']}")
