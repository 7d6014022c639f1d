"""What docs/reference/cli.md says beside the help of the commands: head, examples, and what all commands share."""

from __future__ import annotations

HEAD = """\
<!-- Made by `python -m tests.docs.cli_page` from the help of the commands. Do not edit. -->

# The `eventlog` command

The command looks into a log, feeds it and takes care of it.
It uses the public API and nothing else.
`pip install "eventlog[cli]"` installs it; [The command line](../how-to/command-line.md) is a session with it.
`python -m eventlog` is the same command.

A log may be in use by other processes while a command runs.
Each page below is what `--help` prints.
Exit codes, errors, JSON and completion are [at the end](#exit-codes).
"""

AFTER = {
    "eventlog topics list": """\
```
$ eventlog topics list data/shop
topic     partitions  records  key  value  index
accounts           1      310  str  json   key
orders             4    1,200  str  json   -
```
""",
    "eventlog topics create": """\
The codecs are described on [their page](codecs.md), the index at [`index=`](options.md#eventlogtopic).
Both stay as they are for good.

```
$ eventlog topics create data/shop accounts --key str --value json --index key
accounts: made, 1 partition, key str, value json, index by key
```
""",
    "eventlog trim": """\
```
$ eventlog trim data/shop orders --before -1000 --yes
partition  first  new first    end  deleted
        0      0      4,000  5,000    4,000
        1      0      4,000  5,000    4,000
8,000 records deleted
```
""",
    "eventlog copy-topic": """\
What it promises, and how to go over to the new topic: [copy a topic](../how-to/copy-topic.md).
Values become those of another codec by their text or their JSON.
""",
    "eventlog stats": """\
```
$ eventlog stats data/shop
topic     partitions  records  batches   bytes
accounts           1      310      310   38,410
orders             4    1,200       24   95,712

records  1,510 in 2 topics
bytes    134.1 kB in batches
file     430.1 kB, of which 20.5 kB are free
commits  339 since the log was made
readers  1 is reading; the oldest began 12 commits ago
```

The names in JSON are those of [`LogStats`](api.md#logstats), without those of the process that asks.
`schedules` has those of [`ScheduleTotals`](api.md#scheduletotals).
A read that goes on keeps freed pages from being used again.
Where the file grows although much of it is free, look at the oldest read.
""",
    "eventlog backup": """\
```
$ eventlog backup data/shop backup/shop --incremental
backup/shop: backup 2, log positions 1,510 to 1,640: 13 batches, 0.0 MB
```

What it holds and how to keep it: [back up](../how-to/back-up.md).
The names in JSON are those of [`BackupReport`](api.md#backupreport).
""",
    "eventlog restore": """\
```
$ eventlog restore backup/shop data/shop-before --to 2026-11-29T10:00Z
data/shop-before: 1,583 records up to log position 1,583
offsets of groups, states and projections are those of the backup at log position 1510: what was stored from there \
to 1583 comes to them again.
with the tables of 2026-11-29T06:00:00+00:00
```

What comes back at a position between two backups: [back up](../how-to/back-up.md#restore-a-backup).
The names in JSON are those of [`RestoreReport`](api.md#restorereport), with `--check` those of \
[`BackupContents`](api.md#backupcontents).
""",
    "eventlog bench": """\
A row is a short loop on one machine with whatever else runs there; [benchmarks](../benchmarks.md) has careful figures.

```
$ eventlog bench /var/lib/shop
                           records/s  p50      p99
append, one a call               162  6.00 ms  11.72 ms
append_many, 1,000 a call    110,852  7.97 ms  25.16 ms
send, then flush             532,208  -        -
consume                    1,347,255  -        -
```
""",
    "eventlog clean": """\
What a topic keeps is described at [limit the disk](../how-to/limit-disk.md).
""",
    "eventlog topics alter": """\
```
$ eventlog topics alter data/shop orders --partitions 8
orders: 4 -> 8 partitions
$ eventlog topics alter data/shop views --retention 7d --retention-bytes 10GB --yes
views: keeps everything -> for 604,800 s, up to 10.0 GB
```

What that does to the order of a key: [patterns](../how-to/patterns.md).
""",
    "eventlog history": """\
```
$ eventlog history data/shop accounts alice --start 2
2	0:1	2026-07-02T13:46:40.123Z	{"paid": 650}
```

The names in JSON are those of [`Event`](api.md#event).
""",
    "eventlog projections": """\
```
$ eventlog projections data/shop
projection  log_position  lag
balances           1,510    0
```
""",
    "eventlog groups describe": """\
```
$ eventlog groups describe data/shop billing
billing: stable, epoch 2, assignor sticky, 1 member, lag 50

topic   partition  committed  end  lag  commit age  member
orders          0        100  120   20  3 s         8f2d5f1c1f9f4c2f
orders          1         70  100   30  5 min       8f2d5f1c1f9f4c2f

member            state  process  joined                    instance  subscribes to  owns         waits for
8f2d5f1c1f9f4c2f  alive     4711  2026-07-02T13:46:40.123Z  -         orders         orders[0-1]  -
```

States and figures are those of [`GroupDescription`](api.md#groupdescription).
""",
    "eventlog groups reset": """\
A time is in ISO 8601 with a zone: `2026-07-02T15:00+02:00`.
`--execute` is Kafka's word for `--yes`.

```
$ eventlog groups reset data/shop billing --to-earliest --topic orders:1 --yes
topic   partition  before  offset
orders          1      70       0
```
""",
    "eventlog produce": r"""
```
$ printf 'alice:tea\nbob:milk\n' | eventlog produce data/shop drinks -K :
2 records stored in topic 'drinks'
```

In CSV a cell that begins with `\x` is bytes in hexadecimal digits.
Any other text that begins with a backslash has one more.
""".lstrip("\n"),
}

TAIL = r"""## Destructive commands show their plan first

A command that destroys something shows what it would do, and asks on the terminal.
`--dry-run` shows it and changes nothing; `--yes` does it without asking.
Without a terminal and without `--yes` the plan is on stderr, nothing is changed, and the exit code is 2.

## JSON

With `--json` a command prints one JSON object a line, with the names of the API.
Bytes are text where they are UTF-8, else `{"base64": "..."}`.
Values of `msgpack` may hold bytes and text side by side, so their bytes are always `{"base64": "..."}`.
A map that looks like that is `{"escaped": {...}}`.
`produce --json` and `import` read what `tail --json` and `export` print.
They store the same keys, values, headers, timestamps and partitions.
Keys of maps of `msgpack` that are not text become text.

## Errors

An error is on stderr, by its parts: what failed, where, what is stored now, what to do next.

```
$ eventlog groups delete data/shop nobody
eventlog: UnknownGroup: cannot describe group 'nobody': it has neither members nor offsets.
  where: group nobody
  stored: Nothing was changed.
  next: `eventlog groups list` names those that are there.
```

## Exit codes

| code | meaning |
| --- | --- |
| 0 | Done, and nothing wrong found. |
| 1 | An error of another kind; input that does not fit; an answer of no; damage that `verify` or `repair` found. |
| 2 | Wrong usage, or a yes is needed. Nothing was written. |
| 3 | `verify`, `repair`: the process that read the log died or got stuck. |
| 4 | Not found: no log, or no such topic, partition, group, state, projection or key. |
| 5 | Refused by what is there: a topic that exists, other options, an offset out of range, live members, users. |
| 6 | Cannot be read: damage, a value that its codec does not take, a newer or an older format. |
| 7 | The disk or the system: no permission, no room, a file system that does not fit. |
| 130 | Ctrl-C. The log is closed; what was acknowledged is stored. |
| 141 | Whoever read our output went away, as in `eventlog tail .. \| head`. |
| 143 | SIGTERM. As after Ctrl-C. |

## Completion

`eventlog completion bash` prints a script.
The shell then completes commands, options, and the names of topics, groups and states.

```
eval "$(eventlog completion bash)"                     # in ~/.bashrc
eval "$(eventlog completion zsh)"                      # in ~/.zshrc
eventlog completion fish | source                      # in ~/.config/fish/config.fish
```
"""
