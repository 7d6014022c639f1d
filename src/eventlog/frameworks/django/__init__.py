"""
Django's tasks on a log: a backend for the setting `TASKS`, and the command of its workers.

It serves `django.tasks` of Django 6 and the package django-tasks for earlier ones, which have the same interface.
docs/how-to/django-tasks.md shows how to use it.
"""
