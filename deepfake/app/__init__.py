"""A detector behind a page for the browser: Streamlit, from a run folder."""
