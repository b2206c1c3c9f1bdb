"""MMLU's 57 subjects and their categories, in two groupings.

The usual one is that of the benchmark's authors (https://github.com/hendrycks/test, `categories.py`). RADIO
averages over 19 / 13 / 12 / 13 subjects, with anatomy in STEM (reference radio_flashrag.md, section 1.6).
"""

from __future__ import annotations

from enum import StrEnum


class Category(StrEnum):
    """The four categories."""

    STEM = "STEM"
    HUMANITIES = "Humanities"
    SOCIAL_SCIENCES = "Social sciences"
    OTHER = "Other"


class Grouping(StrEnum):
    """Whose categories: the usual ones, or those of RADIO."""

    USUAL = "usual"
    RADIO = "radio"


_USUAL = {
    Category.STEM: (
        "abstract algebra, astronomy, college biology, college chemistry, college computer science, college "
        "mathematics, college physics, computer security, conceptual physics, electrical engineering, "
        "elementary mathematics, high school biology, high school chemistry, high school computer science, "
        "high school mathematics, high school physics, high school statistics, machine learning"
    ),
    Category.HUMANITIES: (
        "formal logic, high school european history, high school us history, high school world history, "
        "international law, jurisprudence, logical fallacies, moral disputes, moral scenarios, philosophy, "
        "prehistory, professional law, world religions"
    ),
    Category.SOCIAL_SCIENCES: (
        "econometrics, high school geography, high school government and politics, high school "
        "macroeconomics, high school microeconomics, high school psychology, human sexuality, professional "
        "psychology, public relations, security studies, sociology, us foreign policy"
    ),
    Category.OTHER: (
        "anatomy, business ethics, clinical knowledge, college medicine, global facts, human aging, "
        "management, marketing, medical genetics, miscellaneous, nutrition, professional accounting, "
        "professional medicine, virology"
    ),
}
SUBJECTS: dict[str, Category] = {
    subject: category for category, subjects in _USUAL.items() for subject in subjects.split(", ")
}
"""Each subject with its usual category."""
_MOVED = {"anatomy": Category.STEM}
"""The subjects that RADIO counts elsewhere."""


def subject_name(written: str) -> str:
    """A subject as it is written here: `high_school_physics` -> `high school physics`."""
    return " ".join(written.replace("_", " ").lower().split())


def category_of(subject: str, grouping: Grouping = Grouping.USUAL) -> Category | None:
    """The category of a subject (in either spelling); None for one that is not MMLU's."""
    name = subject_name(subject)
    moved = _MOVED.get(name) if grouping is Grouping.RADIO else None
    return moved or SUBJECTS.get(name)
