"""What is done in the background."""

from celery import shared_task

from orders.models import Order


@shared_task
def confirm(order_id):
    """Confirm an order; how many were confirmed."""
    return Order.objects.filter(pk=order_id, is_confirmed=False).update(is_confirmed=True)
