"""The settings of the site: a database and a log, side by side in one directory; or PostgreSQL, and a log."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("SHOP_DATA", "data"))
SHOP_LOG = DATA / "log"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "shop.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},  # writers wait for each other from the beginning
    }
}
if POSTGRES := os.environ.get("SHOP_POSTGRES"):  # the name of a database; libpq's PGHOST, PGUSER and so on say where
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": POSTGRES}}
INSTALLED_APPS = ["examples.django_site.shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "examples.django_site.urls"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = os.environ.get("SHOP_SECRET", "only for the example")
USE_TZ = True
