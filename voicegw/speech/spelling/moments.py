"""Says dates and times of day; None leaves a form as it is written."""

from __future__ import annotations

import re

from voicegw.speech.spelling.numbers import Form, NumberWords, german_form


class MomentWords:
    """The dates and the times of one language in words."""

    def __init__(self, numbers: NumberWords) -> None:
        self.numbers, self.locale = numbers, numbers.locale
        self.language, self.words = numbers.language, numbers.words

    def date(self, form: Form, before: str, after: str) -> str | None:
        """Return a date, or a part of one whose other part has been said."""
        name = form.get("name")
        if "year" in form and "day" not in form:
            return self.numbers.year(int(form["year"] or 0))
        if "month" not in form and name is None:
            return self.locale.ordinal(int(form["day"] or 0), "")
        month = self.locale.months.get(name.lower().rstrip("."), 0) if name else int(form["month"] or 0)
        day, year = int(form["day"] or 0), form["year"]
        template = self.words.date if year else self.words.day_month
        if not (1 <= month <= 12 and 1 <= day <= 31) or not template:
            return None
        said = self._day(day, before)
        if self.language == "en" and name:
            the = "" if re.search(r"\bthe\s\Z", before, re.IGNORECASE) else "the "
            return f"{the}{said} of {self.locale.month_names[month - 1]}" + (
                f" {self.numbers.year(int(year))}" if year else ""
            )
        spoken_year = self._spoken_year(int(year)) if year else ""
        month_name = self.locale.month_names[month - 1]
        if self.language == "ja":
            month_name = f"{self.locale.cardinal(month)}月"
        return template.format(day=said, month=month_name, year=spoken_year)

    def _spoken_year(self, year: int) -> str:
        return self.locale.year(year) if self.language == "ru" else self.numbers.year(year)

    def _day(self, day: int, before: str) -> str:
        words = self.words
        if self.language == "en":
            return self.locale.ordinal(day, "")
        if self.language == "de":
            return self.locale.ordinal(day, german_form(before))
        if day == 1 and words.first_day:
            return words.first_day
        return self.locale.ordinal(day, words.day) if words.day else self.locale.cardinal(day)

    def time(self, form: Form, before: str, after: str) -> str | None:
        """Return a time of day, or the span between two."""
        said = [
            self._clock(int(form[f"h{part}"] or 0), form.get(f"m{part}"), form.get("half"))
            for part in (1, 2)
            if form.get(f"h{part}")
        ]
        if None in said:
            return None
        glue = self.words.glue
        said[0] = f"{said[0]}{self._half_day(form.get('half1'))}"
        return f"{glue}{self.words.to}{glue}".join(map(str, said)) + self._half_day(form.get("half"))

    def _half_day(self, half: str | None) -> str:
        return f" {half[0].lower()}.m." if half else ""

    def _clock(self, hour: int, minute: str | None, half: str | None) -> str | None:
        """Return the time of a clock in words; None in a language without a template for it."""
        minutes, words = int(minute or 0), self.words
        said = self.locale.cardinal(hour, words.hour_gender)
        if self.language == "en":
            if not minutes:
                return said if half else f"{said} o'clock" if hour <= 12 else f"{said} hundred"
            return f"{said} {'oh ' if minutes < 10 else ''}{self.locale.cardinal(minutes)}"
        if not (template := words.time if minutes else words.hour):
            return None
        if self.language == "fr" and hour == 1:
            template = template.replace("heures", "heure")
        gender = words.hour_gender if self.language == "fr" else ""
        return template.format(h=said, m=self.locale.cardinal(minutes, gender))
