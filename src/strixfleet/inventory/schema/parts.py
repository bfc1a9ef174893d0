"""The structures within the inventory: models, instances, benchmark, waivers."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from strixfleet.inventory.schema.addresses import (
    AbsolutePath,
    ControllerPath,
    ListenAddress,
    WebAddress,
    base_name,
)
from strixfleet.inventory.schema.field_types import (
    DeviceName,
    FileName,
    Integer,
    Number,
    PlainName,
    Secret,
    Sha256,
    Text,
    as_list,
    file_name,
    quoted,
    refusal,
)
from strixfleet.inventory.schema.maps import Environment, ServerArguments
from strixfleet.inventory.schema.split_models import check_parts, check_single


CONTEXT_MAX_TOKENS = 4_194_304
Origin = Literal["url", "path", "host_path"]


class Part(BaseModel):
    """A structure in the inventory: unknown keys are mistakes, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Source(Part):
    """Where one GGUF file comes from, and its digest."""

    url: WebAddress | None = Field(default=None, description="https address of the file.")
    path: ControllerPath | None = Field(
        default=None, description="File on the controller; copied to the host."
    )
    host_path: AbsolutePath | None = Field(
        default=None, description="File that is on the host already; used in place."
    )
    sha256: Sha256 | None = Field(
        default=None, description="SHA-256 of the file, 64 hexadecimal digits; required."
    )

    @property
    def address(self) -> str:
        """Return whichever of url, path and host_path is set."""
        return self.url or self.path or self.host_path or ""

    @property
    def origin(self) -> Origin:
        """Tell which of the three is set."""
        return "url" if self.url else "path" if self.path else "host_path"

    def given(self) -> list[str]:
        """List which of url, path and host_path are set."""
        return [key for key in ("url", "path", "host_path") if getattr(self, key)]

    def check_source(self) -> None:
        """Refuse a file that has no source, several sources or no digest."""
        given = self.given()
        if len(given) != 1:
            have = "none" if not given else " and ".join(given)
            raise refusal(
                "source", f"needs exactly one of url, path and host_path, and has {have}", "keep one of them"
            )
        if self.sha256 is None:
            raise refusal("source", "has no sha256", "add `sha256:`, the first word of `sha256sum FILE`")


class ModelFile(_Source):
    """One file of a split model."""

    name: FileName | None = Field(
        default=None, description="File name in the store; from the address when left out."
    )

    @property
    def file_name(self) -> str:
        """Return the name of the file in the store."""
        return self.name or base_name(self.address)

    @property
    def name_on_host(self) -> str:
        """Return the name under which llama-server finds it."""
        return base_name(self.address) if self.origin == "host_path" else self.file_name

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.check_source()
        if self.origin != "host_path":
            file_name(self.file_name)
        return self


class Model(_Source):
    """One entry of the catalogue: a GGUF file, or several for a split one."""

    name: PlainName = Field(description="Name in the catalogue; also the served model's alias.")
    files: Annotated[tuple[ModelFile, ...] | None, Field(max_length=999)] = Field(
        default=None, description="The files of a split model, in order, each with its own source and sha256."
    )

    @property
    def parts(self) -> tuple[ModelFile, ...]:
        """Return the files, a single one under `<name>.gguf`."""
        if self.files is not None:
            return self.files
        source = {key: getattr(self, key) for key in _Source.model_fields}
        return (ModelFile(name=f"{self.name}.gguf", **source),)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.files is None:
            self.check_source()
            check_single(base_name(self.address), self.origin)
            return self
        if self.given() or self.sha256:
            raise refusal("files", "has both `files` and a source", "keep only `files`")
        names = [part.file_name for part in self.files]
        if not names:
            raise refusal("files", "has an empty `files`", "list the files, or write url, path or host_path")
        folders = {
            part.address.rpartition("/")[0] if part.origin == "host_path" else "" for part in self.files
        }
        if len(folders) > 1:
            raise refusal(
                "files",
                "has files in several folders of the host",
                "move them into one folder: llama-server needs them side by side",
            )
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            raise refusal("files", f"has {quoted(doubles[0])} twice", "give each file its own `name`")
        check_parts([part.name_on_host for part in self.files])
        return self


class Instance(Part):
    """One llama-server, run by the unit `llama-server@<name>.service`."""

    name: PlainName = Field(description="Name of the instance and of its unit.")
    model: PlainName = Field(description="Model to serve, by its name in llama_models.")
    port: Annotated[Integer, Field(ge=1024, le=65535)] = Field(
        description="TCP port, 1024 to 65535; one per host."
    )
    host: ListenAddress = Field(
        default="127.0.0.1",
        description="Address to listen on: loopback, `tailnet` (the host's own there) or one in the tailnet.",
    )
    context_size: Annotated[Integer, Field(ge=256, le=CONTEXT_MAX_TOKENS)] = Field(
        default=8192, description="Tokens of context, all slots together."
    )
    draft_model: PlainName | None = Field(
        default=None,
        description="Small model of the same family for speculation; releases since May 2026 use an ordinary "
        "one only with the argument `spec-type: draft-simple`, which older ones refuse.",
    )
    device: DeviceName | None = Field(
        default=None,
        description="Device to compute on, as `llama-server --list-devices` names it, such as Vulkan1; "
        "the APU when left out, also beside another AMD card.",
    )
    arguments: ServerArguments = Field(
        default_factory=dict,
        description="Further long options of llama-server without dashes; null for a bare flag.",
    )
    environment: Environment = Field(
        default_factory=dict, description="Environment of the unit, such as RADV_PERFTEST."
    )
    api_key: Secret | None = Field(
        default=None,
        description="Key that callers must show; keep it in vault. Only the unit can read its file.",
    )


class SmokeBench(Part):
    """The benchmark that ends a provision and gates an upgrade."""

    model: PlainName | None = Field(
        default=None,
        description="Model to measure; when left out the first instance's, and in a gate every instance's.",
    )
    prompt_tokens: Annotated[Integer, Field(ge=16, le=131072)] = Field(
        default=512, description="Tokens of prefill (ppN)."
    )
    generate_tokens: Annotated[Integer, Field(ge=16, le=8192)] = Field(
        default=128, description="Tokens of decode (tgN)."
    )
    repetitions: Annotated[Integer, Field(ge=3, le=50)] = Field(
        default=3, description="Runs; their spread is judged."
    )
    calm_s: Annotated[Integer, Field(ge=0, le=600)] = Field(
        default=45, description="Seconds to wait for other work on the CPU to end, where the CPU computes."
    )
    tolerance: Annotated[Number, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Share of the expectation that may be missing, such as 0.1; found when left out.",
    )


class Waiver(Part):
    """A known difference that the audit does not count until a date."""

    item: Text = Field(description="The audit item's id, such as `kernel:ttm.pages_limit`.")
    reason: Text = Field(description="Why the difference is accepted.")
    expires: date = Field(description="Last day on which it is accepted, YYYY-MM-DD.")


Models = Annotated[tuple[Model, ...], BeforeValidator(as_list)]
Instances = Annotated[tuple[Instance, ...], BeforeValidator(as_list)]
Waivers = Annotated[tuple[Waiver, ...], BeforeValidator(as_list)]
