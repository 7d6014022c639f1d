"""What a view does: an order is stored, and confirmed in the background after the commit."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import transaction
from orders.models import Order
from orders.tasks import confirm

call_command("migrate", run_syncdb=True, verbosity=0)
with transaction.atomic():
    order = Order.objects.create(item="tea")
    sent = []
    transaction.on_commit(lambda: sent.append(confirm.delay(order.pk)))
assert sent[0].get(timeout=20) == 1
order.refresh_from_db()
assert order.is_confirmed
print("all is well")
