"""Every setting of the service: from a YAML file, overridden by LVO_… environment variables."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AnyHttpUrl, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from lvo.errors import ConfigInvalid, PathNotFound
from lvo.pathway.webhook import Policy

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GIB = 1024**3


class ServiceSettings(BaseSettings):
    """Settings of one service; sizes in bytes, times in seconds.

    Attributes
    ----------
    work_dir
        Holds uploads (deleted once scored, unless `keep_inputs`), results and the job store.
    network
        The pathway configuration: centres, hours, routes.
    disk_reserve
        Free space below which uploads are refused and the service is not ready.
    max_attempts
        How often a job that a dying service left running is started again before it is given up.
    api_keys
        Name of each API key and the SHA-256 of the key itself. With none, no key is asked for:
        then only a trusted gateway may reach the port. The pathway configuration says whose a key is.
    """

    model_config = SettingsConfigDict(
        env_prefix="LVO_", env_nested_delimiter="__", extra="forbid", frozen=True, yaml_file_encoding="utf-8"
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: AnyHttpUrl | None = None
    work_dir: Path = Path("lvo-work")
    network: Path = Path("configs/pathway/example.yaml")
    model: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_upload: int = Field(default=4 * GIB, gt=0)
    max_unpacked: int = Field(default=8 * GIB, gt=0)
    max_files: int = Field(default=20_000, gt=0)
    max_queue: int = Field(default=50, gt=0)
    disk_reserve: int = Field(default=2 * GIB, ge=0)
    load_timeout: float = Field(default=300.0, gt=0)
    score_timeout: float = Field(default=300.0, gt=0)
    max_attempts: int = Field(default=2, ge=1)
    keep_inputs: bool = False
    api_keys: dict[str, Sha256] = Field(default_factory=dict)
    delivery: Policy = Policy()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)

    def key_name(self, key: str) -> str | None:
        """Return the name of the API key, or None if it is not one of ours."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        matches = [name for name, known in self.api_keys.items() if hmac.compare_digest(digest, known)]
        return matches[0] if matches else None


def load_settings(path: Path | None = None, **overrides: Any) -> ServiceSettings:
    """Read settings from a YAML file, if one is given, and the environment.

    Parameters
    ----------
    overrides
        Settings given on the command line; those that are None are left out.

    Raises
    ------
    PathNotFound
        If there is no such file.
    ConfigInvalid
        If a key is unknown or a value does not fit.
    """
    if path is not None and not path.is_file():
        raise PathNotFound(str(path))

    class FromFile(ServiceSettings):
        model_config = SettingsConfigDict(yaml_file=path)

    try:
        return FromFile(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigInvalid(f"{path or 'settings'}: {faults}") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ConfigInvalid(f"{path or 'settings'}: {error}") from error
