"""The runs of a bench: every method on every scan, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inr_core.errors import InrError, ParameterError
from inr_gadgets.bench import peers
from inr_gadgets.bench.cases import Case
from inr_gadgets.bench.jobs import Job, bart_job, our_job
from inr_gadgets.bench.rows import MethodSpec, Row, file_stem, load_rows, save_rows

ROWS_FILE = "bench.json"


@dataclass(frozen=True)
class Bench:
    """Methods x scans.

    Attributes
    ----------
    cases, methods
        What is measured.
    output
        Folder for images and rows; made if it does not exist.
    grasp_weights
        Weights of BART's GRASP, the best of which counts; none to leave BART out.
    resume
        Take rows that an earlier bench left in the folder, if scan, truth, method, settings and version are the same.
        Those that failed are tried again.
    limit_s
        Seconds that a method may take, BART for each weight; None for no limit.
    say
        Called with a line at each run, and with what else is worth one.

    Raises
    ------
    ParameterError
        When there is nothing to measure, two scans have one name, or a weight is none.
    """

    cases: Sequence[Case]
    methods: Sequence[MethodSpec]
    output: Path
    grasp_weights: Sequence[float] = peers.GRASP_WEIGHTS
    resume: bool = True
    limit_s: float | None = None
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        names = [case.name for case in self.cases]
        if not names or len(set(names)) < len(names):
            raise ParameterError(f"scans named {', '.join(names) or 'nothing'}", "one or more, of different names")
        if not all(weight > 0 for weight in self.grasp_weights):
            raise ParameterError(f"weights {list(self.grasp_weights)} of BART's GRASP", "more than 0 each")

    def run(self) -> list[Row]:
        """Run what is missing; give the rows, scan by scan in the order of the methods.

        ``bench.json`` in the folder has each row as soon as it is there, and those of other methods and scans that
        were measured in this folder before. What fails is a row, too.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        path = self.output / ROWS_FILE
        known = {row.key: row for row in load_rows(path)}
        rows = []
        jobs = self._jobs()
        for case in self.cases:
            for job in jobs:
                row = Row(case.name, job.label, job.settings, case.digest, job.version)
                earlier = known.get(row.key)
                if self.resume and earlier is not None and not earlier.error:
                    self.say(f"{case.name}: {job.label} is there already")
                else:
                    self.say(f"{case.name}: {job.label}")
                    known[row.key] = self._row(case, job, row)
                    save_rows(path, known.values())
                rows.append(known[row.key])
        return rows

    def _jobs(self) -> list[Job]:
        jobs = [our_job(spec, self.limit_s) for spec in self.methods]
        if self.grasp_weights:
            if peers.available():
                jobs.append(bart_job(self.grasp_weights, self.limit_s))
            else:
                self.say("BART is not installed (Debian: apt-get install bart): its GRASP is left out")
        return jobs

    def _row(self, case: Case, job: Job, row: Row) -> Row:
        images = Path(file_stem(case.name), f"{file_stem(job.label)}.h5")
        output = self.output / images
        output.parent.mkdir(exist_ok=True)
        output.unlink(missing_ok=True)
        try:
            return replace(row, images=str(images), **job.run(case, output))
        except InrError as error:
            self.say(f"{case.name}: {job.label} failed: {error}")
            return replace(row, error=str(error))
