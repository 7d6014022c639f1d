"""
The mechanisms of SASL that Kafka's clients speak, as exchanges: bytes come in, and a `Step` says what goes out.

* `exchange.py`: what all of them have in common.
* `plain.py` (RFC 4616), `scram.py` (RFC 5802, RFC 7677), `oauthbearer.py` (RFC 7628).
* `passwords.py`: passwords as SCRAM keeps them, which is the only form in which they are stored.

Pure: nobody here waits, reads a log or looks at a clock. Whatever a client sends, an exchange either goes on or raises
`AuthenticationFailed`.
"""
