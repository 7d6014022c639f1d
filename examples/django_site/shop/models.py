"""The tables: orders and invoices, and two that keep the database and the log together."""

from __future__ import annotations

import uuid

from django.db import models


class Order(models.Model):
    """What a customer has ordered."""

    customer = models.CharField(max_length=100)
    cups = models.IntegerField()


class OutboxRow(models.Model):
    """An event that is on its way to the log."""

    message_id = models.UUIDField(default=uuid.uuid4, unique=True)
    key = models.CharField(max_length=100)
    value = models.JSONField()


class Invoice(models.Model):
    """What a customer has to pay."""

    customer = models.CharField(max_length=100)
    cents = models.IntegerField()


class Position(models.Model):
    """How far a group has worked on a partition: the offset of its next record."""

    group = models.CharField(max_length=249)
    topic = models.UUIDField()
    partition = models.IntegerField()
    next_offset = models.BigIntegerField(default=0)

    class Meta:
        """One row for each partition."""

        constraints = (models.UniqueConstraint(fields=["group", "topic", "partition"], name="one_position"),)
