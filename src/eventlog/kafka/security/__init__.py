"""
Who may use a listener, and for what.

* `sasl/`: the mechanisms of SASL; pure.
* `acls.py`, `authorizer.py`: access control lists by Kafka's rules; pure.
* `certificate_names.py`: the principal of a client's certificate; pure.
* `stored.py`: what a log keeps of users and access control lists.
* `users.py`, `access.py`: both for the programs that own the log.
* `guards/`: which right each API needs, and its answer where somebody has it not.
* `gate.py`, `sessions.py`, `failures.py`: connections that have yet to authenticate themselves, and those that did.
"""
