"""The project: Celery is loaded with Django."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
