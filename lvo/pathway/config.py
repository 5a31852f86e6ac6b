"""The stroke network as a site writes it down: centres, opening hours, routes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from lvo.errors import ConfigInvalid, PathNotFound

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


def _clock(value: Any) -> Any:
    # YAML 1.1 reads an unquoted 18:00 as the number 1080, which pydantic would take for 00:18.
    if not isinstance(value, str | time):
        raise ValueError('write the time in quotes, as "18:00"')
    return value


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"{value!r} is not a time zone name such as Europe/London")
    return value


def _private_url(url: AnyHttpUrl) -> AnyHttpUrl:
    if url.scheme != "https" and url.host not in _LOOPBACK:
        raise ValueError("a webhook address must use https, except on this machine itself")
    return url


CentreId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
# Up to 16 printable characters, no backslash, no blank at either end (DICOM PS3.5, VR AE).
AeTitle = Annotated[str, Field(max_length=16, pattern=r"^[!-\[\]-~]([ -\[\]-~]*[!-\[\]-~])?$")]
Clock = Annotated[time, BeforeValidator(_clock)]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Webhook(_Config):
    """Where alerts are posted. The signing secret itself stays in the environment."""

    url: Annotated[AnyHttpUrl, AfterValidator(_private_url)]
    secret_env: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Name of the environment variable that holds the signing secret (whsec_…).",
    )


class Daytime(_Config):
    """Opening hours that are not round the clock; ``closes`` before ``opens`` runs over midnight."""

    days: tuple[Weekday, ...] = Field(default=WEEK, min_length=1, description="Days on which it opens.")
    opens: Clock
    closes: Clock
    time_zone: Annotated[str, AfterValidator(_zone)]

    @model_validator(mode="after")
    def _not_empty(self) -> Daytime:
        if self.opens == self.closes:
            raise ValueError('opening and closing time are the same; write hours: "24/7" if it never closes')
        return self

    def contains(self, at: datetime) -> bool:
        """Whether an aware moment lies within the hours, by the clock on the centre's own wall."""
        local = at.astimezone(ZoneInfo(self.time_zone))
        today = WEEK[local.weekday()] in self.days
        clock = local.time()
        if self.opens < self.closes:
            return today and self.opens <= clock < self.closes
        yesterday = WEEK[(local - timedelta(days=1)).weekday()] in self.days
        return (today and clock >= self.opens) or (yesterday and clock < self.closes)


class Centre(_Config):
    """What every stroke centre has."""

    id: CentreId
    name: str = Field(min_length=1)
    webhook: Webhook | None = None


class Psc(Centre):
    """A primary stroke centre: it images, thrombolyses and refers.

    Attributes
    ----------
    ae_titles, api_keys
        DICOM application entity titles and names of API keys that identify this centre as the sender.
    route
        Thrombectomy centres to refer to, the preferred one first.
    """

    ae_titles: tuple[AeTitle, ...] = ()
    api_keys: tuple[str, ...] = ()
    route: tuple[CentreId, ...] = Field(min_length=1)


class Csc(Centre):
    """A comprehensive, thrombectomy-capable stroke centre.

    Attributes
    ----------
    covers
        Centres whose referrals this one takes while they are closed.
    """

    hours: Literal["24/7"] | Daytime
    covers: tuple[CentreId, ...] = ()

    def is_open(self, at: datetime) -> bool:
        """Whether the centre takes patients at an aware moment."""
        return self.hours == "24/7" or self.hours.contains(at)


class Network(_Config):
    """The centres of one network, checked against each other.

    Who is on call and how an unacknowledged alert escalates belongs here too, once it exists.
    """

    name: str = Field(min_length=1)
    psc: tuple[Psc, ...] = Field(min_length=1)
    csc: tuple[Csc, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Network:
        _unique("centre id", (c.id for c in (*self.psc, *self.csc)))
        _unique("AE title", (title for p in self.psc for title in p.ae_titles))
        _unique("API key name", (key for p in self.psc for key in p.api_keys))
        known = {c.id for c in self.csc}
        for centre, named in [*((p.id, p.route) for p in self.psc), *((c.id, c.covers) for c in self.csc)]:
            for other in named:
                if other not in known or other == centre:
                    raise ValueError(f"{centre} names {other!r}, no other thrombectomy centre here")
        return self

    def find_psc(self, psc_id: str) -> Psc | None:
        """The primary stroke centre with this identifier."""
        return next((p for p in self.psc if p.id == psc_id), None)

    def find_csc(self, csc_id: str) -> Csc | None:
        """The thrombectomy centre with this identifier."""
        return next((c for c in self.csc if c.id == csc_id), None)

    def psc_of_ae_title(self, title: str) -> Psc | None:
        """The primary stroke centre whose scanner or PACS calls itself by this AE title."""
        return next((p for p in self.psc if title.strip() in p.ae_titles), None)

    def psc_of_api_key(self, key_name: str) -> Psc | None:
        """The primary stroke centre that owns the API key of this name."""
        return next((p for p in self.psc if key_name in p.api_keys), None)


def _unique(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"the {what} {value!r} is used twice")
        seen.add(value)


def load_network(path: Path) -> Network:
    """Read a network from YAML.

    Raises
    ------
    PathNotFound
        If there is no such file.
    ConfigInvalid
        If it is not YAML, has unknown keys, or the centres contradict each other.
    """
    try:
        return Network.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise PathNotFound(str(path)) from error
    except yaml.YAMLError as error:
        raise ConfigInvalid(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigInvalid(f"{path}: {faults}") from error
