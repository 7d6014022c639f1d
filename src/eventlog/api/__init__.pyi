from pathlib import Path as Path

from eventlog.api.groups import Groups as Groups
from eventlog.backend.backup import BackupReport as BackupReport
from eventlog.backend.maintenance import CleanReport as CleanReport
from eventlog.backend.maintenance import LogStats as LogStats
from eventlog.backend.maintenance import RedactReport as RedactReport
from eventlog.backend.maintenance import VerifyReport as VerifyReport
from eventlog.clients.admin.groups import EmbeddedGroups as EmbeddedGroups
from eventlog.clients.copying.topic_copy import TopicCopy as TopicCopy
from eventlog.clients.projection.folder import FoldOptions as FoldOptions
from eventlog.clients.projection.projection import Projection as Projection
from eventlog.clients.reading.follower import Follower as Follower
from eventlog.clients.state.state import State as State
from eventlog.clients.state.view import StateView as StateView
from eventlog.clients.transaction.processor import Processor as Processor
from eventlog.codecs.ordered import OrderedCodec as OrderedCodec
from eventlog.groups.assignors import Assignor as Assignor
