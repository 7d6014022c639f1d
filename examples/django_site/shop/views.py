"""The view that takes orders."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from examples.django_site.shop.events import publish
from examples.django_site.shop.models import Order


@require_POST
def place(request: HttpRequest, customer: str) -> HttpResponse:
    """Store an order and its event, both or neither."""
    with transaction.atomic():
        order = Order.objects.create(customer=customer, cups=int(request.POST["cups"]))
        publish(customer, {"order": order.id, "cups": order.cups})
    return JsonResponse({"order": order.id}, status=201)
