"""
Which right each API needs, on what, and what somebody without it is answered: Kafka's "operations and resources".

A guard looks at a request before its handler does. It lets it through, answers it, or takes out of it what is not
allowed and puts the errors for that into the answer. So no handler knows of rights.

* `guard.py`: what guards are made of.
* `records.py`, `groups.py`, `transactions.py`, `admin.py`: the guards, by subject.
* `table.py`: the guard of each API. An API without one is refused where rights are asked.
"""
