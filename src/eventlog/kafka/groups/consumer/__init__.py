"""
The new protocol of consumer groups (KIP-848): its members are members of native groups.

The rules of native groups are those of the protocol: a target for each member, partitions that are released before they
are granted, an epoch of each ownership that fences commits. So a listener acts as its clients' process: it joins,
proposes targets, releases and leaves for them, and native consumers share the group. See
docs/decisions/0060-kip-848.md.
"""
