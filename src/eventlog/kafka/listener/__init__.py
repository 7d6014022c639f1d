"""
The listener: connections, requests and the handlers of what is neither a group nor a transaction.

* `listener.py`, `loop_thread.py`: its life, and the one thread that its loop runs in.
* `server.py`, `connection.py`, `frames.py`: bytes become requests, and answers bytes, in order and within bounds.
* `apis.py`, `request.py`, `broker.py`: the table of the APIs, and what a handler is given.
* `metadata.py`, `produce.py`, `fetch.py`, ...: the handlers, a module each.
* `commits.py`, `polls.py`: the thread that commits, and the waiting for appends of any process.
* `failures.py`: which of Kafka's error codes stands for which error of ours.

All of it belongs to the loop's thread, but for `Listener`.
"""
