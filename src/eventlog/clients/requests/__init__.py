"""
Request and reply: a request is a record of its topic, and its reply a record of the requester's inbox.

* `headers.py`: what a request and a reply carry in their headers, as Kafka's own pattern has it.
* `calls.py`: the requests of a process that wait for replies.
* `inbox.py`: the topic of a process for its replies, and the sweep of those whose processes were killed.
* `presence.py`: whether anybody is there to answer.
* `question.py`: one request from its arguments to its reply or error; what blocks and what is awaited share it.
* `requester.py`: sending and waiting, in threads.
* `answers.py`, `answering.py`, `responder.py`: the other side, a processor.

Decision record: docs/decisions/0068-request-reply.md.
"""
