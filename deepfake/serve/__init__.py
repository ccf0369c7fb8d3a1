"""A detector behind a REST API: FastAPI on uvicorn, from a run folder."""
