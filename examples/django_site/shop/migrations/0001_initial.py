"""Made by `manage makemigrations`: the tables of the shop."""

from __future__ import annotations

import uuid

from django.db import migrations, models

_ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    """The first tables."""

    initial = True

    operations = [
        migrations.CreateModel(
            name="Invoice",
            fields=[("id", _ID), ("customer", models.CharField(max_length=100)), ("cents", models.IntegerField())],
        ),
        migrations.CreateModel(
            name="Order",
            fields=[("id", _ID), ("customer", models.CharField(max_length=100)), ("cups", models.IntegerField())],
        ),
        migrations.CreateModel(
            name="OutboxRow",
            fields=[
                ("id", _ID),
                ("message_id", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("key", models.CharField(max_length=100)),
                ("value", models.JSONField()),
            ],
        ),
        migrations.CreateModel(
            name="Position",
            fields=[
                ("id", _ID),
                ("group", models.CharField(max_length=249)),
                ("topic", models.UUIDField()),
                ("partition", models.IntegerField()),
                ("next_offset", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("group", "topic", "partition"), name="one_position")]
            },
        ),
    ]
