"""Gathers everything that a report shows from the history."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.engine_identity import measured_identity
from paragone_workbench.lanes.names import names_of
from paragone_workbench.reporting.content import ReportContent, Section
from paragone_workbench.reporting.parts.measurements import measurements_of, saved_measurements
from paragone_workbench.reporting.parts.ratings import ratings_sections
from paragone_workbench.reporting.subjects.conversation import conversation_report
from paragone_workbench.reporting.subjects.experiment import experiment_report
from paragone_workbench.store.experiment_records import Experiment, Vote
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store


def report_of(store: Store, subject: Experiment | SavedConversation, find: BackendLookup) -> ReportContent:
    """Return the report. `find` returns the backend with a given name. The store must stay open while the report is written.

    Raises StoreError, and InputError if a package for the figures is missing.
    """
    if isinstance(subject, Experiment):
        votes: Sequence[Vote] = store.votes.all(subject.number)
        report = experiment_report(store, subject, find)
        measured: tuple[Section, ...] = ()
    else:
        prompts = {prompt.id for prompt in subject.conversation.prompts}
        votes = [vote for vote in store.votes.all() if vote.prompt_id in prompts]
        report = conversation_report(subject, find)
        names = names_of(subject.lanes, find)
        measured = measurements_of(
            saved_measurements(store),
            {
                names[lane.id]: measured_identity(lane.definition, find(lane.definition.backend))
                for lane in subject.lanes
            },
        )
    return dataclasses.replace(report, sections=(*report.sections, *ratings_sections(votes), *measured))
