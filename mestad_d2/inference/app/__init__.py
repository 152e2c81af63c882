"""The browser app (gradio, an optional extra)."""
