"""The command `relay`: run it when the site starts, and every minute."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from examples.django_site.shop.events import relay


class Command(BaseCommand):
    """Sends what a crash has left in the outbox."""

    help = "Moves the events in the outbox to the log."

    def handle(self, *_: Any, **__: Any) -> None:
        """Relay, and tell how many."""
        self.stdout.write(f"relayed {relay()}")
