"""A source looked at whole, before anything is made of it: every fault, and the figures that a study needs."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.data.base import CaseInfo, CaseReport, DataSpec
from trainers.errors import Fault

SHOWN = 5
"""Cases that a notice names."""
UNKNOWN_SUBJECTS = frozenset(
    [
        "unknown",
        "unk",
        "n/a",
        "na",
        "nan",
        "none",
        "null",
        "nil",
        "-",
        "--",
        "?",
        "???",
        "missing",
        "anonymous",
        "anon",
        "not available",
        "unspecified",
        "undefined",
        "tbd",
        "#n/a",
    ]
)
"""What tables write where they do not know whose a case is."""


@dataclass(frozen=True)
class DataReport:
    """What was found.

    faults: all of them; notices: of what is there and not used; cases, findings: of those whose files are there.
    """

    faults: list[Fault]
    notices: list[str] = field(default_factory=list)
    cases: Sequence[CaseInfo] = ()
    findings: Sequence[CaseReport] = ()

    @property
    def volumes(self) -> NDArray[np.int64]:
        """Volume of every full map in the prepared case (case, class) [voxels]."""
        return np.array([found.voxels for found in self.findings], dtype=np.int64)


def inspect(spec: DataSpec, progress: Callable[[int, int], None] | None = None) -> DataReport:
    """Look at every header and label of a source, several at once, and at how the cases fit together.

    ``progress`` is told the cases seen and the cases in all.
    """
    survey = spec.survey()
    cases, findings = survey.cases, []
    # Threads do: reading, unpacking and filtering leave the interpreter to others.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, found in enumerate(pool.map(spec.inspect_case, cases), start=1):
            findings.append(found)
            if progress is not None:
                progress(number, len(cases))
    faults = [*survey.faults, *(fault for found in findings for fault in found.faults)]
    faults += across_cases(spec, cases, whole=not survey.faults)
    if not faults:
        faults = [*_absent_classes(spec, findings), *_odd_channels(cases, findings)]
    notices = [*survey.notices, *compare_cases(spec, cases, findings)]
    return DataReport(faults, notices, cases, findings)


def across_cases(spec: DataSpec, cases: Sequence[CaseInfo], whole: bool = True) -> list[Fault]:
    """What is wrong between cases: one given twice, a subject in two groups, a group without cases.

    whole: these are all cases, so that what is not among them is missing.
    """
    faults = [
        Fault(f"case {name}", f"given {count} times", "name each case once")
        for name, count in Counter(info.case for info in cases).items()
        if count > 1
    ]
    groups: dict[str, set[str]] = defaultdict(set)
    for info in cases:
        groups[info.subject].add(info.group)
    if not spec.paired:
        faults += [
            Fault(f"subject {name}", f"in groups {', '.join(sorted(found))}", "put all its cases into one group")
            for name, found in sorted(groups.items())
            if len(found) > 1
        ]
    unknown = Counter(info.subject for info in cases if info.subject.strip(" .").casefold() in UNKNOWN_SUBJECTS)
    faults += [
        Fault(f"subject {name!r}", f"names nobody, and {count} cases have it", "give each case its own subject's name")
        for name, count in unknown.items()
    ]
    there = {info.group for info in cases}
    faults += [
        Fault(f"group {name}", "has no cases", "use more of the data, or leave the group out where it is declared")
        for name in spec.groups
        if whole and name not in there
    ]
    faults += [
        Fault(f"group {name}", f"is not declared, known: {', '.join(spec.groups)}", "declare it, or correct the case")
        for name in sorted(there - set(spec.groups))
    ]
    return faults


def compare_cases(spec: DataSpec, cases: Sequence[CaseInfo], reports: Sequence[CaseReport]) -> list[str]:
    """Notices of what is no fault and changes what results mean: lost maps, copies, subjects that look alike."""
    return [
        *_alike(_remark for report in reports for _remark in report.remarks),
        *_lost_maps(spec, cases, reports),
        *_copies(cases, reports),
        *_similar_subjects(cases),
        *spec.compare_cases(reports),
    ]


def _alike(remarks: Iterable[str]) -> Iterator[str]:
    """One line a kind of remark: the first, and how many more there are of it."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for remark in remarks:
        kinds[re.sub(r"-?[0-9][0-9.e+-]*", "#", remark.split(": ", 1)[-1])].append(remark)
    for first, *more in kinds.values():
        yield f"{first}; {len(more)} more like it" if more else first


def lost_maps(spec: DataSpec, cases: Sequence[CaseInfo], reports: Sequence[CaseReport]) -> dict[str, list[str]]:
    """By class, the cases whose map has voxels in its file and none once prepared: the grid or the crop swallows it."""
    return {
        name: [
            info.case
            for info, report in zip(cases, reports, strict=True)
            if report.ml and report.ml[at] > 0 and not report.voxels[at]
        ]
        for at, name in enumerate(spec.classes)
    }


def _lost_maps(spec: DataSpec, cases: Sequence[CaseInfo], reports: Sequence[CaseReport]) -> Iterator[str]:
    volumes = {info.case: report.ml for info, report in zip(cases, reports, strict=True)}
    for at, (name, lost) in enumerate(lost_maps(spec, cases, reports).items()):
        if lost:
            shown = ", ".join(f"{case} ({volumes[case][at]:.2g} ml)" for case in lost[:SHOWN])
            more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
            yield (
                f"class {name}: {len(lost)} of {len(cases)} maps have voxels in their files and none at this spacing, "
                f"patch and crop, so that training takes them for empty: {shown}{more}"
            )


def _copies(cases: Sequence[CaseInfo], reports: Sequence[CaseReport]) -> Iterator[str]:
    """Images, and labels, that are the same voxel by voxel in several subjects' cases."""
    for kind in ("image", "label"):
        first: dict[str, CaseInfo] = {}
        pairs = []
        for info, report in zip(cases, reports, strict=True):
            content = report.image_hash if kind == "image" else report.label_hash
            if content and (twin := first.setdefault(content, info)).subject != info.subject:
                pairs.append(f"{info.case} of subject {info.subject} and {twin.case} of subject {twin.subject}")
        if pairs:
            more = f"; {len(pairs)} such cases" if len(pairs) > 1 else ""
            yield f"the same {kind} under two subjects, so that a test may see its training: {pairs[0]}{more}"


def _similar_subjects(cases: Sequence[CaseInfo]) -> Iterator[str]:
    spellings: dict[str, set[str]] = defaultdict(set)
    for subject in {info.subject for info in cases}:
        spellings[_plain(subject)].add(subject)
    alike = [sorted(names) for _, names in sorted(spellings.items()) if len(names) > 1]
    if alike:
        shown = " and ".join(map(repr, alike[0]))
        more = f"; {len(alike)} such names" if len(alike) > 1 else ""
        yield f"subjects {shown} are taken for different ones and differ in how they are written only{more}"


def _plain(name: str) -> str:
    """A name without capitals, blanks, invisible characters and leading zeros."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(mark for mark in text if not mark.isspace() and unicodedata.category(mark) != "Cf")
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", text)


def _absent_classes(spec: DataSpec, findings: Sequence[CaseReport]) -> Iterator[Fault]:
    for name, volume in zip(spec.classes, np.sum([found.ml for found in findings], axis=0), strict=True):
        if not volume:
            yield Fault(f"class {name}", "is in no case", "check its label value, or leave it out of data.classes")


def _odd_channels(cases: Sequence[CaseInfo], findings: Sequence[CaseReport]) -> Iterator[Fault]:
    """Cases with other channels than most."""
    usual, _ = Counter(found.channels for found in findings).most_common(1)[0]
    for info, found in zip(cases, findings, strict=True):
        if found.channels != usual:
            fault = f"{found.channels} channels, most cases have {usual}"
            yield Fault(f"case {info.case}", fault, "give every case the same channels")


def statistics(found: DataReport, spec: DataSpec) -> dict[str, Any]:
    """Figures of an inspection without faults.

    ``cases``, ``subjects``, ``groups`` {group: cases}, ``classes``; ``lost_maps`` {class: cases};
    ``volumes_ml`` {group: {class: mean, min, max
    [ml] of the maps that are not empty, ``empty``: share of maps that are}}; ``spacing_mm`` and ``size_voxels``
    of the images as stored, each with the least and the most along every axis.
    """
    volumes: dict[str, dict[str, dict[str, float | None]]] = {}
    for group in spec.groups:
        rows = [one.ml for one, info in zip(found.findings, found.cases, strict=True) if info.group == group]
        volumes[group] = {name: _spread([row[at] for row in rows]) for at, name in enumerate(spec.classes)}
    spacing = np.array([one.spacing for one in found.findings])
    size = np.array([one.shape for one in found.findings])
    return {
        "cases": len(found.cases),
        "subjects": len({info.subject for info in found.cases}),
        "groups": dict(Counter(info.group for info in found.cases)),
        "classes": list(spec.classes),
        "volumes_ml": volumes,
        "lost_maps": {name: lost for name, lost in lost_maps(spec, found.cases, found.findings).items() if lost},
        "spacing_mm": {"min": spacing.min(axis=0).tolist(), "max": spacing.max(axis=0).tolist()},
        "size_voxels": {"min": size.min(axis=0).tolist(), "max": size.max(axis=0).tolist()},
    }


def _spread(volumes: Sequence[float]) -> dict[str, float | None]:
    full = [volume for volume in volumes if volume > 0]
    return {
        "mean": float(np.mean(full)) if full else None,
        "min": min(full, default=None),
        "max": max(full, default=None),
        "empty": 1 - len(full) / len(volumes),
    }
