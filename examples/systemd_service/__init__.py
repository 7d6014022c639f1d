"""A worker of the shop that systemd starts, watches and stops."""
