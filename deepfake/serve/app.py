"""The REST API: what is asked at which address."""

from __future__ import annotations

import asyncio.constants
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

import torch
from fastapi import APIRouter, FastAPI, File, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp

import deepfake
from deepfake.forensics.card import card
from deepfake.serve import schemas
from deepfake.serve.accept import chosen
from deepfake.serve.docs import page
from deepfake.serve.keys import Keys
from deepfake.serve.limits import Door, Limits
from deepfake.serve.metrics import CONTENT_TYPE, Metrics
from deepfake.serve.problems import MEDIA_TYPE, RETRY_SECONDS, STATUSES, Problem, documented
from deepfake.serve.service import Service, Settings
from deepfake.serve.stream import Streams

DESCRIPTION = """\
Is the speech in a recording bona fide or spoofed? Scores are larger for bona fide speech. A score is evidence and not a
probability; `verdict` is `inconclusive` where `reasons` forbid either answer. Every error is `application/problem+json`
(RFC 9457) with a stable `type`. Nothing of a request is kept after its answer.
"""
ALWAYS = documented("internal")
KEYED = documented("unauthorized", "internal")
UPLOADED = documented(
    "bad-request", "unauthorized", "too-slow", "too-large", "too-many-parts", "beyond-limits", "not-multipart",
    "not-audio", "invalid-request", "unusable-audio", "busy", "internal", "decoder-ended", "not-ready",
    "decoding-too-long",
)  # fmt: skip
EVIDENCE = ("application/zip", "application/pdf", "application/json")
NOTHING_LOADED = "default-src 'none'; style-src 'unsafe-inline'"
BINARY = {"type": "string", "format": "binary"}
Recording = Annotated[UploadFile, File(description="WAV, FLAC, MP3, M4A, OGG, WebM ...; its name is not used.")]
Recordings = Annotated[list[UploadFile], File(description="Recordings, answered in order.")]
Over = Annotated[bool, Query(description="Whether to add p_fake over time and its segments: one more window's work.")]
Claimed = Annotated[str | None, Query(description="The speaker that it claims to be; without, all who are enrolled.")]
router = APIRouter()


def application(settings: Settings) -> ASGIApp:
    """The server of a run, behind its limits.

    Raises:
        InputError: The run or the key file cannot be used.
    """
    metrics, keys = Metrics(), Keys.read(settings.key_file) if settings.key_file else None
    service = Service(settings, metrics)
    streams = Streams(service, keys=keys, origins=settings.allow_origins, metrics=metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.constants.SSL_SHUTDOWN_TIMEOUT = 1.0  # or idle TLS connections delay the end by 30 s each
        service.prepare()
        with streams.drained_first():
            yield
        service.close()

    app = FastAPI(
        title="deepfake",
        description=DESCRIPTION,
        version=deepfake.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(router)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    app.state.door = door = Door(app, limits=Limits(), keys=keys, metrics=metrics, streams=streams)
    if not settings.allow_origins:
        return door
    methods, headers = ["GET", "POST"], ["Authorization", "X-API-Key", "X-Request-ID"]
    exposed = ["X-Request-ID", "Retry-After"]
    return CORSMiddleware(
        door,
        allow_origins=settings.allow_origins,
        allow_methods=methods,
        allow_headers=headers,
        expose_headers=exposed,
    )


def _service(request: Request) -> Service:
    return request.app.state.service


@router.get("/docs", include_in_schema=False)
def documentation(request: Request) -> Response:
    """This API for people."""
    return HTMLResponse(page(request.app.openapi()), headers={"Content-Security-Policy": NOTHING_LOADED})


@router.get("/health", responses=ALWAYS)
async def health(request: Request) -> schemas.Health:
    """Whether the process lives, and what it serves."""
    service = _service(request)
    versions = {"deepfake": deepfake.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return schemas.Health(
        status="ok",
        model_loaded=True,
        device=str(service.detector.device),
        detector_sha256=service.sha256,
        versions=versions,
    )


@router.get("/ready", responses=documented("internal", "not-ready"))
async def ready(request: Request) -> schemas.Ready:
    """Whether a recording would be taken now."""
    if request.app.state.door.full:
        raise Problem("not-ready", "Too many requests are in work.", headers={"Retry-After": str(RETRY_SECONDS)})
    return schemas.Ready(ready=True)


@router.post("/predict", response_model=schemas.Prediction, response_model_exclude_unset=True, responses=UPLOADED)
async def predict(request: Request, file: Recording, timeline: Over = False) -> Any:
    """The verdict on a recording: what `deepfake predict` says of it."""
    return await _service(request).predict(file.file, timeline=timeline)


@router.post("/predict/batch", response_model=schemas.Batch, response_model_exclude_unset=True, responses=UPLOADED)
async def predict_batch(request: Request, files: Recordings, timeline: Over = False) -> Any:
    """The verdicts on several recordings; one that cannot be used has its problem in its place."""
    results: list[dict[str, Any]] = []
    for file in files:
        try:
            results.append(await _service(request).predict(file.file, timeline=timeline))
        except Problem as problem:
            results.append(problem.content(request.state.request_id))
    return {"results": results}


@router.post(
    "/explain",
    response_class=Response,
    responses={
        **UPLOADED,
        **documented("not-acceptable"),
        200: {
            "description": "A ZIP file with report, arrays, pictures and sums; the report as PDF; or `report.json`.",
            "content": {
                "application/zip": {"schema": BINARY},
                "application/pdf": {"schema": BINARY},
                "application/json": {"schema": {"type": "object"}},
            },
        },
    },
)
async def explain(request: Request, file: Recording) -> Response:
    """Why: which times and bands are evidence for spoof, as `explain.py` finds them; the form is chosen by `Accept`."""
    media_type = chosen(request.headers.get("accept") or "*/*", EVIDENCE)
    return Response(await _service(request).explain(file.file, media_type), media_type=media_type)


@router.post(
    "/identify",
    response_model=schemas.Comparison,
    response_model_exclude_unset=True,
    responses={**UPLOADED, **documented("not-enrolled", "no-speaker-check")},
)
async def identify(request: Request, file: Recording, speaker: Claimed = None) -> Any:
    """Whose voice it is of those enrolled, or whether it is the one that is claimed, beside the verdict on spoofing."""
    return await _service(request).identify(file.file, speaker)


@router.get("/model", response_model=schemas.Card, responses=KEYED)
async def model(request: Request) -> Any:
    """The model card: what the detector was trained and judged on, with intervals."""
    service = _service(request)
    return card(service.settings.run, service.detector)


@router.get("/metrics", responses={**KEYED, 200: {"content": {"text/plain": {}}}}, response_class=Response)
async def metrics(request: Request) -> Response:
    """What Prometheus collects of this process."""
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE)


async def _problem(request: Request, error: Exception) -> Response:
    problem = cast(Problem, error)
    request.state.problem = problem.name
    content = problem.body(request.state.request_id)
    return Response(content, problem.kind.status, headers=problem.headers, media_type=MEDIA_TYPE)


async def _failed(request: Request, _: Exception) -> Response:
    """What is logged by the door, to which it is raised again."""
    return await _problem(request, Problem("internal", "The server made an error; its log has it under this id."))


async def _refused(request: Request, error: Exception) -> Response:
    """What the framework refuses."""
    refused = cast(HTTPException, error)
    name = STATUSES.get(refused.status_code, "bad-request")
    return await _problem(request, Problem(name, f"{refused.detail}.", headers=refused.headers))


async def _invalid(request: Request, error: Exception) -> Response:
    """What is not as the schema says; what was given is not repeated."""
    if request.method == "POST" and not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _problem(request, Problem("not-multipart", "Send the file as multipart/form-data."))
    errors = cast(RequestValidationError, error).errors()
    faults = [{"location": list(fault["loc"]), "message": fault["msg"]} for fault in errors]
    where = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in errors)
    return await _problem(request, Problem("invalid-request", where, errors=faults))
