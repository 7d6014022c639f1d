"""The one page of the site."""

from __future__ import annotations

from django.urls import path

from examples.django_site.shop.views import place

urlpatterns = [path("orders/<str:customer>", place)]
